/** The shape of an arrow: a tapered ribbon along a quadratic curve from the sender to the reader, with a small head. */

import { BEND, BEND_MOST, FAN, TAIL, THREAD, TRIM_FROM, TRIM_TO } from "./look";

export interface Arrow {
  ax: number; // sender
  ay: number;
  cx: number; // control point, always to the left of the way: A to B and B to A do not meet
  cy: number;
  bx: number; // reader
  by: number;
  from: number; // parameters along the curve: where the ribbon begins,
  neck: number; // where its head begins,
  to: number; // and its tip
  tail: number; // half widths: at the sender,
  body: number; // at the neck,
  head: number; // and of the head
}

export function emptyArrow(): Arrow {
  return { ax: 0, ay: 0, cx: 0, cy: 0, bx: 0, by: 0, from: 0, neck: 0, to: 0, tail: 0, body: 0, head: 0 };
}

/** `rimFrom`, `rimTo`: radii of the two points. `nth`: how many arrows between the same two are drawn already. `grown`: 0 to 1, how far it has got. The shader does the same. */
export function arrowShape(ax: number, ay: number, bx: number, by: number, rimFrom: number, rimTo: number, width: number, nth: number, grown: number, out: Arrow): Arrow {
  const [dx, dy] = [bx - ax, by - ay];
  const apart = Math.max(Math.hypot(dx, dy), 1e-3);
  const bend = (Math.min(BEND * apart, BEND_MOST) + Math.min(3, 0.2 * apart)) * (1 + FAN * nth) * 2;
  out.ax = ax;
  out.ay = ay;
  out.bx = bx;
  out.by = by;
  out.cx = (ax + bx) / 2 + (dy / apart) * bend;
  out.cy = (ay + by) / 2 - (dx / apart) * bend;
  const around = Math.hypot(out.cx - ax, out.cy - ay) + Math.hypot(bx - out.cx, by - out.cy);
  const long = (apart + around) / 2;
  out.from = Math.min((rimFrom + TRIM_FROM) / long, 0.3);
  const end = 1 - Math.min((rimTo + TRIM_TO) / long, 0.3);
  out.to = out.from + (end - out.from) * grown;
  const headLength = Math.min(4 + 1.9 * width, 0.42 * (out.to - out.from) * long);
  out.neck = out.to - headLength / long;
  out.body = width / 2;
  out.tail = Math.min(width / 2, Math.max(THREAD, (width / 2) * TAIL));
  out.head = Math.max(width / 2 + 0.9, headLength * 0.46);
  return out;
}

/** A point on the curve, and the unit normal there. Writes x, y, nx, ny. */
export function along(arrow: Arrow, t: number, out: { [index: number]: number }): void {
  const u = 1 - t;
  out[0] = u * u * arrow.ax + 2 * u * t * arrow.cx + t * t * arrow.bx;
  out[1] = u * u * arrow.ay + 2 * u * t * arrow.cy + t * t * arrow.by;
  const tx = u * (arrow.cx - arrow.ax) + t * (arrow.bx - arrow.cx);
  const ty = u * (arrow.cy - arrow.ay) + t * (arrow.by - arrow.cy);
  const length = Math.hypot(tx, ty) || 1;
  out[2] = -ty / length;
  out[3] = tx / length;
}

const AT = new Float64Array(4);

/** Its outline as an SVG path. */
export function outline(arrow: Arrow, segments = 14): string {
  const left: string[] = [];
  const right: string[] = [];
  const add = (half: number): void => {
    left.push(`${fixed(AT[0]! + AT[2]! * half)} ${fixed(AT[1]! + AT[3]! * half)}`);
    right.push(`${fixed(AT[0]! - AT[2]! * half)} ${fixed(AT[1]! - AT[3]! * half)}`);
  };
  for (let i = 0; i <= segments; i++) {
    const share = i / segments;
    along(arrow, arrow.from + (arrow.neck - arrow.from) * share, AT);
    add(arrow.tail + (arrow.body - arrow.tail) * share);
  }
  add(arrow.head);
  along(arrow, arrow.to, AT);
  left.push(`${fixed(AT[0]!)} ${fixed(AT[1]!)}`);
  return `M${left.join("L")}L${right.reverse().join("L")}Z`;
}

export function fixed(value: number): string {
  return Number.isFinite(value) ? String(Math.round(value * 100) / 100) : "0";
}
