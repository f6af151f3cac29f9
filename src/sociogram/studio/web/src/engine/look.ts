/** Sizes and strengths that both renderers share, so that their pictures are the same. All lengths in CSS pixels. */

import type { Palette } from "../types";

export const FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'DejaVu Sans', sans-serif";
export const LABEL_SIZE = 12;
export const LABEL_GAP = 6; // between a point's rim and its text
export const HALO = 1.6; // background around points, so that arrows pass behind them
export const HAIR = 1.1; // the thinnest arrow
export const BEND = 0.14; // how far arrows swing out, as a share of their length
export const BEND_MOST = 64;
export const FAN = 0.5; // and how much further each next head between the same two tokens
export const TAIL = 0.28; // width at the sender as a share of the width at the reader
export const THREAD = 0.38; // and no thinner there than this half width
export const FADE = 0.38; // opacity there
export const TRIM_FROM = 2.5;
export const TRIM_TO = 3.5;
export const CLEAR = 5.5; // further room that arrows and texts leave around the token looked at, for its ring
export const WAKE = 0.5; // width of a wake as a share of its point
export const RING_GAP = 4.5;
export const RING_STEP = 3.2;
export const DOT = 2.5; // stops on a path
export const PATH = 2.4; // width of a path now
export const DOTS_ON = 1.6; // the dotted future
export const DOTS_PERIOD = 5.5;
export const DEPTH_SIZE = 0.16; // depth cue: nearer points are so much larger
export const DEPTH_FADE = 0.3; // and farther ones so much paler

/** Of more tokens than this those that nobody speaks of are small and close, and nothing is written on them. */
export const CROWD = 1000;

/** Size of a point without an arrow, as a share of one with. */
export function idleSize(tokens: number): number {
  return tokens > CROWD ? 0.6 : 0.86;
}

/** Among so many tokens every so-manieth leaves a wake: thousands would be one dark cloud, and slow to draw without a graphics card. */
export function wakeEvery(tokens: number): number {
  return Math.ceil(tokens / CROWD);
}

/** And how visible it is. */
export function wakeShare(tokens: number): number {
  return Math.min(1, Math.sqrt((300 * wakeEvery(tokens)) / tokens));
}

/** Radius of a point among so many. */
export function pointRadius(tokens: number): number {
  return Math.min(6.4, Math.max(2.3, 8.3 - 0.56 * Math.log2(Math.max(2, tokens))));
}

/** Width of the strongest arrow among so many. */
export function widest(arrows: number): number {
  return Math.min(7, Math.max(2, 8.6 - 2 * Math.log10(Math.max(1, arrows))));
}

export function arrowWidth(share: number, most: number): number {
  return HAIR + (most - HAIR) * Math.min(1, Math.max(0, share));
}

/** Opacity of an arrow of this share of the largest, among so many. */
export function arrowOpacity(share: number, arrows: number): number {
  const crowd = Math.min(1, Math.max(0, Math.log10(Math.max(1, arrows) / 60) / 1.7)); // 0 up to 60 arrows, 1 from 3000
  return (1 - 0.45 * crowd) * (0.58 + 0.42 * Math.sqrt(Math.min(1, Math.max(0, share)))) * 0.96;
}

/** Arrows are drawn with a thin edge of background, so that crossings can be read; a crowd is not. */
export function casing(arrows: number): number {
  return arrows <= 150 ? 1.3 : arrows <= 600 ? 0.7 : 0;
}

// ---- colours

export type Rgb = [number, number, number]; // 0 to 1

const PARSED = new Map<string, Rgb>();

/** `#rgb`, `#rrggbb`, `rgb(...)`; anything else is mid grey. */
export function rgb(text: string): Rgb {
  let found = PARSED.get(text);
  if (!found) {
    found = parse(text.trim());
    if (PARSED.size > 200) PARSED.clear();
    PARSED.set(text, found);
  }
  return found;
}

function parse(text: string): Rgb {
  const hex = /^#([0-9a-f]{3}|[0-9a-f]{6}|[0-9a-f]{8})$/i.exec(text)?.[1];
  if (hex) {
    const wide = hex.length === 3 ? [...hex].map((c) => c + c).join("") : hex;
    return [0, 2, 4].map((i) => parseInt(wide.slice(i, i + 2), 16) / 255) as Rgb;
  }
  const parts = /^rgba?\(\s*([\d.]+)[\s,]+([\d.]+)[\s,]+([\d.]+)/i.exec(text);
  if (parts) return [1, 2, 3].map((i) => Math.min(1, Number(parts[i]) / 255)) as Rgb;
  return [0.5, 0.5, 0.5];
}

export function hex(colour: Rgb): string {
  return `#${colour.map((c) => Math.round(Math.min(1, Math.max(0, c)) * 255).toString(16).padStart(2, "0")).join("")}`;
}

export function mix(a: Rgb, b: Rgb, share: number): Rgb {
  return [a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share, a[2] + (b[2] - a[2]) * share];
}

/** How far from neutral a pull is coloured: its square root, so that a clear lean can be seen; 0 where it does not exist. */
export function lean(pull: number): number {
  return pull === pull ? Math.sign(pull) * Math.sqrt(Math.min(1, Math.abs(pull))) : 0;
}

export function pullColour(pull: number, colours: Palette): Rgb {
  const far = lean(pull);
  return mix(rgb(colours.neutral), rgb(far < 0 ? colours.repel : colours.attract), Math.abs(far));
}
