/** From stored positions to pixels: interpolation between stops, an orthographic camera, and how much of it all is drawn. */

import type { Camera, Insets, Run, ViewInfo } from "../types";

/** x, y, depth, and distance from the centre in the full space, for every stop and token, in units of the view's scale. */
export interface Positions {
  stops: number;
  tokens: number;
  data: Float32Array; // stops x tokens x 4
}

/** The three chosen components. A component chosen twice counts once: the later axis is empty. */
export function positionsOf(run: Run, view: ViewInfo, axes: readonly [number, number, number]): Positions {
  const [S, T, C] = [run.info.stops.length, run.info.tokens.length, view.components.length];
  const position = run.array(`position/${view.name}`);
  const distance = run.array(`distance/${view.name}`);
  const data = new Float32Array(S * T * 4);
  const drawn = axes.map((axis, nth) => (axis < C && axes.indexOf(axis) === nth ? axis : -1));
  for (let i = 0; i < S * T; i++) {
    for (let a = 0; a < 3; a++) {
      const value = drawn[a]! < 0 ? 0 : position[i * C + drawn[a]!]!;
      data[i * 4 + a] = Number.isFinite(value) ? value : NaN; // what overflowed is nowhere
    }
    data[i * 4 + 3] = distance[i]! / view.scale;
  }
  return { stops: S, tokens: T, data };
}

/** The box that the picture shows at zoom 1. */
export interface Fit {
  centre: [number, number, number];
  half: [number, number, number];
}

/** Tokens that do not belong to the flock's box: the first, and those that the projection was fitted without. */
function ordinary(tokens: number, token: number, without: ReadonlySet<number>): boolean {
  return tokens < 2 || (token !== 0 && !without.has(token));
}

const FAR = 5;

/**
 * The box around the tokens at all stops together, and one for each stop (what was there, and where it came from). Left out are
 * the first token, tokens that the projection was fitted without, and at each stop those that are more than five times as
 * far from the middle as three quarters of the others: they would make the rest a dot.
 */
export function fitsOf(positions: readonly Positions[], without: readonly number[] = []): { whole: Fit; stops: Fit[] } {
  const skip = new Set(without);
  const S = positions[0]?.stops ?? 0;
  const whole = new Box();
  const boxes = Array.from({ length: S }, () => new Box());
  for (const one of positions) {
    for (let s = 0; s < Math.min(S, one.stops); s++) {
      for (const token of kept(one, s, skip)) {
        const at = (s * one.tokens + token) * 4;
        whole.add(one.data, at);
        boxes[s]!.add(one.data, at);
        boxes[s + 1]?.add(one.data, at);
      }
    }
  }
  const all = whole.fit(0) ?? { centre: [0, 0, 0], half: [1, 1, 1] };
  const least = Math.max(...all.half) * 0.004;
  return { whole: all, stops: boxes.map((box) => box.fit(least) ?? all) };
}

/** The same, made large enough for one more token, wherever it goes. */
export function withToken(fits: { whole: Fit; stops: Fit[] }, positions: Positions, token: number): { whole: Fit; stops: Fit[] } {
  const whole = Box.of(fits.whole);
  const stops = fits.stops.map((fit, s) => {
    const box = Box.of(fit);
    for (const stop of [s - 1, s]) {
      if (stop < 0 || stop >= positions.stops) continue;
      const at = (stop * positions.tokens + token) * 4;
      box.add(positions.data, at);
      whole.add(positions.data, at);
    }
    return box.fit(0) ?? fit;
  });
  return { whole: whole.fit(0) ?? fits.whole, stops };
}

function kept({ tokens, data }: Positions, stop: number, without: ReadonlySet<number>): number[] {
  const base = stop * tokens * 4;
  const all: number[] = [];
  for (let t = 0; t < tokens; t++) if (ordinary(tokens, t, without) && Number.isFinite(data[base + t * 4]!)) all.push(t);
  if (all.length < 4) return all;
  const middle = [0, 1, 2].map((a) => {
    const values = Float32Array.from(all, (t) => data[base + t * 4 + a]!).sort();
    return values[values.length >> 1]!;
  });
  const away = (t: number): number => Math.hypot(data[base + t * 4]! - middle[0]!, data[base + t * 4 + 1]! - middle[1]!, data[base + t * 4 + 2]! - middle[2]!);
  const sorted = Float32Array.from(all, away).sort();
  const usual = sorted[Math.floor(0.75 * (sorted.length - 1))]!;
  return usual > 0 ? all.filter((t) => away(t) <= FAR * usual) : all;
}

class Box {
  private readonly low = [Infinity, Infinity, Infinity];
  private readonly high = [-Infinity, -Infinity, -Infinity];

  static of(fit: Fit): Box {
    const box = new Box();
    for (let a = 0; a < 3; a++) {
      box.low[a] = fit.centre[a]! - fit.half[a]!;
      box.high[a] = fit.centre[a]! + fit.half[a]!;
    }
    return box;
  }

  add(data: Float32Array, at: number): void {
    for (let a = 0; a < 3; a++) {
      const value = data[at + a]!;
      if (value < this.low[a]!) this.low[a] = value;
      if (value > this.high[a]!) this.high[a] = value;
    }
  }

  /** Null where nothing was added. No side is shorter than `least`, nor than a fiftieth of the longest. */
  fit(least: number): Fit | null {
    if (!(this.high[0]! >= this.low[0]!)) return null;
    const half = this.low.map((value, a) => (this.high[a]! - value) / 2);
    const most = Math.max(...half, least) || 1;
    return {
      centre: this.low.map((value, a) => (value + this.high[a]!) / 2) as Fit["centre"],
      half: half.map((value) => Math.max(value, least, 0.02 * most)) as Fit["half"],
    };
  }
}

/** The box at a time between two stops: its middle moves straight, its size by a constant factor. Writes into `out`. */
export function fitAt(stops: readonly Fit[], time: number, out: Fit): Fit {
  const now = Math.min(stops.length - 1, Math.max(0, time));
  const s = Math.floor(now);
  const [a, b] = [stops[s]!, stops[Math.min(s + 1, stops.length - 1)]!];
  const share = now - s;
  for (let i = 0; i < 3; i++) {
    out.centre[i] = a.centre[i]! + (b.centre[i]! - a.centre[i]!) * share;
    out.half[i] = a.half[i]! * (b.half[i]! / a.half[i]!) ** share;
  }
  return out;
}

/** Stored position to pixels: three rows of (x, y, z, shift), for pixel x, pixel y (down) and depth (-1 far to 1 near). */
export interface Lens {
  rows: Float64Array; // 12 numbers
  scale: number; // pixels per unit
  width: number;
  height: number;
}

export function emptyLens(): Lens {
  return { rows: new Float64Array(12), scale: 1, width: 1, height: 1 };
}

const NONE: Insets = { top: 0, right: 0, bottom: 0, left: 0 };
const margin = (length: number): number => Math.min(64, 0.13 * length);
const room = (length: number): number => Math.max(8, length / 2 - margin(length));

/** Writes into `out`: nothing is allocated. */
export function lensOf(fit: Fit, camera: Camera, width: number, height: number, out: Lens, insets: Insets = NONE): Lens {
  const cy = Math.cos(camera.yaw);
  const sy = Math.sin(camera.yaw);
  const cp = Math.cos(camera.pitch);
  const sp = Math.sin(camera.pitch);
  const wide = Math.max(16, width - insets.left - insets.right);
  const tall = Math.max(16, height - insets.top - insets.bottom);
  const scale = Math.min(room(wide) / fit.half[0], room(tall) / fit.half[1]) * camera.zoom;
  const deep = 1 / Math.max(Math.hypot(fit.half[0], fit.half[1], fit.half[2]), 1e-9);
  const { rows } = out;
  const unit = (camera.zoom * width) / 2;
  fill(rows, 0, scale, cy, 0, sy, fit, insets.left + wide / 2 + camera.x * unit);
  fill(rows, 4, -scale, sy * sp, cp, -cy * sp, fit, insets.top + tall / 2 - camera.y * unit);
  fill(rows, 8, deep, -sy * cp, sp, cy * cp, fit, 0);
  out.scale = scale;
  out.width = width;
  out.height = height;
  return out;
}

function fill(rows: Float64Array, at: number, by: number, x: number, y: number, z: number, fit: Fit, shift: number): void {
  rows[at] = by * x;
  rows[at + 1] = by * y;
  rows[at + 2] = by * z;
  rows[at + 3] = shift - by * (x * fit.centre[0] + y * fit.centre[1] + z * fit.centre[2]);
}

/** Pixel x, pixel y, depth of a stored position; writes into `out`. */
export function project<Out extends { [index: number]: number }>(lens: Lens, x: number, y: number, z: number, out: Out): Out {
  const r = lens.rows;
  out[0] = r[0]! * x + r[1]! * y + r[2]! * z + r[3]!;
  out[1] = r[4]! * x + r[5]! * y + r[6]! * z + r[7]!;
  out[2] = r[8]! * x + r[9]! * y + r[10]! * z + r[11]!;
  return out;
}

/** The stored position whose pixel is (x, y) and whose depth is that of the box's centre (or as given). */
export function unproject(lens: Lens, x: number, y: number, depth = 0): [number, number, number] {
  const r = lens.rows;
  const lengths = [0, 4, 8].map((i) => r[i]! ** 2 + r[i + 1]! ** 2 + r[i + 2]! ** 2);
  const d = [(x - r[3]!) / lengths[0]!, (y - r[7]!) / lengths[1]!, (depth - r[11]!) / lengths[2]!];
  return [0, 1, 2].map((a) => d[0]! * r[a]! + d[1]! * r[4 + a]! + d[2]! * r[8 + a]!) as [number, number, number];
}

/** Where a token is at a time: on the straight line between two stops; nothing is implied about what lies between them. */
export function placeAt<Out extends { [index: number]: number }>(positions: Positions, lens: Lens, time: number, token: number, out: Out): Out {
  const { stops, tokens, data } = positions;
  const now = Math.min(stops - 1, Math.max(0, time));
  const s = Math.floor(now);
  const share = now - s;
  const a = (s * tokens + token) * 4;
  if (share === 0) return project(lens, data[a]!, data[a + 1]!, data[a + 2]!, out);
  const b = a + tokens * 4;
  return project(
    lens,
    data[a]! + (data[b]! - data[a]!) * share,
    data[a + 1]! + (data[b + 1]! - data[a + 1]!) * share,
    data[a + 2]! + (data[b + 2]! - data[a + 2]!) * share,
    out,
  );
}

/**
 * Error of what is drawn of a point: sqrt(1 - shown² / distance²), 0 where all of its distance from the centre can be seen, 1
 * where none. With a camera, only what lies in the plane of the screen counts as shown; without, all three components do.
 */
export function drawnError(positions: Positions, stop: number, token: number, camera?: Pick<Camera, "yaw" | "pitch">): number {
  const at = (stop * positions.tokens + token) * 4;
  const [x, y, z, distance] = [positions.data[at]!, positions.data[at + 1]!, positions.data[at + 2]!, positions.data[at + 3]!];
  if (!(distance > 0)) return 0;
  let shown = x * x + y * y + z * z;
  if (camera) {
    const depth = -Math.sin(camera.yaw) * Math.cos(camera.pitch) * x + Math.sin(camera.pitch) * y + Math.cos(camera.yaw) * Math.cos(camera.pitch) * z;
    shown -= depth * depth;
  }
  return Math.sqrt(Math.min(1, Math.max(0, 1 - shown / (distance * distance))));
}

// ---- what a person does with the camera; each gives a new one

export function panBy(camera: Camera, dx: number, dy: number, width: number): Camera {
  const unit = (camera.zoom * width) / 2;
  return { ...camera, x: camera.x + dx / unit, y: camera.y - dy / unit };
}

/** Turns by pixels dragged: half a turn across 600 pixels. */
export function orbitBy(camera: Camera, dx: number, dy: number): Camera {
  const turn = Math.PI / 600;
  const yaw = camera.yaw + dx * turn;
  return { ...camera, yaw: Math.atan2(Math.sin(yaw), Math.cos(yaw)), pitch: Math.min(Math.PI / 2, Math.max(-Math.PI / 2, camera.pitch + dy * turn)) };
}

/** Zooms so that what is under the pixel stays there. */
export function zoomAt(camera: Camera, factor: number, px: number, py: number, width: number, height: number, insets: Insets = NONE): Camera {
  const zoom = Math.min(200, Math.max(0.05, camera.zoom * factor));
  const dx = (px - (insets.left + width - insets.right) / 2) / (width / 2);
  const dy = ((insets.top + height - insets.bottom) / 2 - py) / (width / 2);
  return { ...camera, zoom, x: camera.x + dx / zoom - dx / camera.zoom, y: camera.y + dy / zoom - dy / camera.zoom };
}
