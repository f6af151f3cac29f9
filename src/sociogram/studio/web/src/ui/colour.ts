/** Colour scales. Size: cividis. Sign: orange-brown towards, purple away, grey between. Never red against green. */
import { hex, pullColour as leaning } from "../engine/look";
import type { Palette } from "../types";

/** Cividis at eleven even places, as r, g, b. */
const CIVIDIS = [
  [0, 34, 78], [18, 53, 112], [59, 73, 108], [87, 93, 109], [112, 113, 115], [138, 134, 120],
  [165, 156, 116], [195, 179, 105], [225, 204, 85], [245, 217, 67], [254, 232, 56],
] as const; // prettier-ignore

function between(scale: readonly (readonly [number, number, number])[], share: number): [number, number, number] {
  const place = Math.min(1, Math.max(0, Number.isFinite(share) ? share : 0)) * (scale.length - 1);
  const low = Math.min(scale.length - 2, Math.floor(place));
  const rest = place - low;
  const [a, b] = [scale[low]!, scale[low + 1]!];
  return [0, 1, 2].map((i) => Math.round(a[i]! + (b[i]! - a[i]!) * rest)) as [number, number, number];
}

function css([r, g, b]: [number, number, number]): string {
  return `rgb(${r}, ${g}, ${b})`;
}

/** How large: from dark blue to yellow. */
export function sizeColour(share: number): string {
  return css(between(CIVIDIS, share));
}

/** Ink that can be read on `sizeColour`. */
export function inkOn(share: number): string {
  return share > 0.5 ? "#111" : "#fff";
}

export const LIGHT: Palette = {
  background: "#fbfaf6",
  ink: "#1d2430",
  faint: "#6a717c",
  point: "#3c4a5e",
  chosen: "#0067a5",
  ghost: "#a9adb5",
  attract: "#b35806",
  neutral: "#8b8b8b",
  repel: "#6a4aa0",
};

export const DARK: Palette = {
  background: "#12151b",
  ink: "#eceae4",
  faint: "#858c98",
  point: "#b9c4d4",
  chosen: "#6cc5ff",
  ghost: "#5a616d",
  attract: "#f5a04a",
  neutral: "#8d929b",
  repel: "#b39ae8",
};

/** Colour of an arrow by its pull: the same as the renderers draw. */
export function pullColour(pull: number, palette: Palette): string {
  return hex(leaning(pull, palette));
}

/** The word that stands beside the colour. */
export function pullWord(pull: number): "towards" | "away" | "across" | "itself" {
  if (!Number.isFinite(pull)) return "itself";
  if (Math.abs(pull) < 0.02) return "across";
  return pull > 0 ? "towards" : "away";
}

export function pullSign(pull: number): string {
  return { towards: "→←", away: "←→", across: "·", itself: "↻" }[pullWord(pull)];
}
