/** In a corner of the picture: which way each drawn component points, its share of the variance, and how long a length is. */

import type { ViewInfo } from "../types";
import type { Lens } from "./project";

export interface Mark {
  x0: number;
  y0: number;
  x1: number;
  y1: number;
  tx: number; // middle of its text
  ty: number;
  text: string;
  ruler: boolean;
}

const LONG = 26;

/** Axes that point at the viewer are left out; the last mark is the ruler. */
export function compass(lens: Lens, view: ViewInfo, axes: readonly [number, number, number]): Mark[] {
  const [x0, y0] = [34, lens.height - 54];
  const out: Mark[] = [];
  axes.forEach((component, a) => {
    if (component >= view.components.length || axes.indexOf(component) !== a) return;
    const [dx, dy] = [lens.rows[a]! / lens.scale, lens.rows[4 + a]! / lens.scale];
    const length = Math.hypot(dx, dy);
    if (length < 0.2) return;
    const share = view.variance[component] ?? NaN;
    const name = Array.from(view.components[component]!).slice(0, 18).join("");
    const text = Number.isFinite(share) ? `${name} ${share < 0.0995 ? (100 * share).toFixed(1) : Math.round(100 * share)} %` : name;
    const [ux, uy] = [dx / length, dy / length];
    const half = text.length * 2.9;
    const away = LONG * length + 7 + Math.abs(ux) * half;
    out.push({ x0, y0, x1: x0 + dx * LONG, y1: y0 + dy * LONG, tx: Math.max(half + 4, x0 + ux * away), ty: y0 + uy * (away + (Math.abs(uy) > 0.5 ? 2 : 0)), text, ruler: false });
  });
  const { length, text } = ruler(lens.scale / view.scale);
  const y = lens.height - 14;
  if (length > 0) out.push({ x0: 14, y0: y, x1: 14 + length, y1: y, tx: 14 + length + 6 + text.length * 2.9, ty: y, text, ruler: true });
  return out;
}

/** What is drawn of a mark, as an SVG path. */
export function strokeOf(mark: Mark): string {
  const [x0, y0, x1, y1] = [mark.x0, mark.y0, mark.x1, mark.y1].map((value) => value.toFixed(1));
  return `M${x0} ${y0}L${x1} ${y1}` + (mark.ruler ? `M${x0} ${mark.y0 - 3}v6M${x1} ${mark.y1 - 3}v6` : "");
}

/** A round length between 36 and 90 pixels, and what it is in the space itself. */
export function ruler(pixelsPerUnit: number): { length: number; text: string } {
  if (!(pixelsPerUnit > 0) || !Number.isFinite(pixelsPerUnit)) return { length: 0, text: "" };
  const power = 10 ** Math.floor(Math.log10(90 / pixelsPerUnit));
  const step = [5, 2, 1].find((each) => each * power * pixelsPerUnit <= 90) ?? 1;
  const value = step * power;
  return { length: value * pixelsPerUnit, text: value >= 1e6 || value < 1e-4 ? value.toExponential(0) : String(Number(value.toPrecision(1))) };
}
