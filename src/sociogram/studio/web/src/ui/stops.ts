/** Names of stops, and where they lie. */
import type { RunInfo, Stop } from "../types";

const PARTS: Record<string, string> = {
  input: "before the first layer",
  attention: "after attention",
  mlp: "after the MLP",
  "attention+mlp": "after attention and MLP",
};

export function partName(part: string): string {
  return PARTS[part] ?? `after ${part.replaceAll("_", " ").replaceAll("+", " and ")}`;
}

/** `Layer 23 · after attention` */
export function stopName(stop: Stop | undefined): string {
  if (!stop) return "";
  return stop.layer < 0 ? "Before the first layer" : `Layer ${stop.layer} · ${partName(stop.part)}`;
}

/** The same within a sentence. */
export function stopNameSmall(stop: Stop | undefined): string {
  const name = stopName(stop);
  return name.slice(0, 1).toLowerCase() + name.slice(1);
}

/** Shape that marks a stop on the timeline: a half-step after attention is a disc, one after the MLP a square. */
export function stopShape(stop: Stop): "start" | "disc" | "square" | "diamond" {
  if (stop.layer < 0) return "start";
  if (stop.part === "attention") return "disc";
  return stop.part === "mlp" ? "square" : "diamond";
}

/** The first stop of a layer, which is where its messages have just arrived; -1 where the layer has none. */
export function stopOfLayer(info: RunInfo, layer: number): number {
  const told = info.layers[layer]?.stop ?? -1;
  return told >= 0 ? told : info.stops.findIndex((stop) => stop.layer === layer);
}

/** The same half of the next (or previous) layer; stays where it is at the ends. */
export function stepLayer(info: RunInfo, at: number, by: 1 | -1): number {
  const here = info.stops[at];
  if (!here) return at;
  const wanted = here.layer + by;
  if (wanted < 0) return 0;
  if (here.layer < 0) return Math.max(stopOfLayer(info, wanted), at);
  const same = info.stops.findIndex((stop) => stop.layer === wanted && stop.part === here.part);
  if (same >= 0) return same;
  const any = stopOfLayer(info, wanted);
  return any >= 0 ? any : by > 0 ? info.stops.length - 1 : at;
}

export function stepStop(info: RunInfo, at: number, by: 1 | -1): number {
  return Math.min(info.stops.length - 1, Math.max(0, at + by));
}
