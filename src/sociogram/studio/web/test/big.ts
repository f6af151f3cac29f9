/** Made-up recordings of any size, filled with noise: for looking at and for timing. Not for testing what numbers mean. */
import { encodeFrame, random, toHalf, type Stored } from "./helpers";
import type { Header, LayerInfo, Stop } from "../src/types";

export interface BigOptions {
  tokens: number | string[];
  layers: number;
  heads: number;
  edges: number;
}

export function bigFrame({ tokens: given, layers: L, heads: H, edges: E }: BigOptions): Uint8Array {
  const next = random(1);
  const tokens = typeof given === "number" ? Array.from({ length: given }, (_, i) => (i ? ` word${i % 97}` : "<s>")) : given;
  const [T, C, K] = [tokens.length, 16, 5];
  const stops: Stop[] = [{ layer: -1, part: "input" }];
  const layers: LayerInfo[] = [];
  for (let l = 0; l < L; l++) {
    layers.push({ status: "closed", stop: stops.length, before: stops.length - 1 });
    stops.push({ layer: l, part: "attention" }, { layer: l, part: "mlp" });
  }
  const S = stops.length;
  const arrays: Record<string, Stored> = {};
  const make = (name: string, dtype: Stored["dtype"], shape: number[], value: (i: number) => number): void => {
    const size = shape.reduce((a, b) => a * b, 1);
    const data = new { f4: Float32Array, f2: Uint16Array, u1: Uint8Array, u2: Uint16Array, u4: Uint32Array }[dtype](size);
    for (let i = 0; i < size; i++) data[i] = dtype === "f2" ? toHalf(value(i)) : value(i);
    arrays[`0/${name}`] = { dtype, shape, data };
  };
  const at = new Float32Array(S * T * C);
  for (let i = 0; i < at.length; i++) at[i] = (i >= T * C ? at[i - T * C]! : 0) + (next() + next() + next() - 1.5) * (0.3 / (1 + (i % C)));
  make("position/plain", "f2", [S, T, C], (i) => at[i]!);
  make("distance/plain", "f4", [S, T], (i) => 1.5 * Math.hypot(...at.subarray(i * C, i * C + C)));
  make("norm", "f4", [S, T], () => 10);
  make("moved", "f4", [S, T], (i) => (i < T ? 0 : 1 + next() * 3));
  make("neighbour", "u2", [S, T, K], () => Math.floor(next() * T));
  make("neighbour_distance", "f4", [S, T, K], (i) => 1 + (i % K));
  for (const part of ["moved", "from_others", "from_itself", "mlp"]) make(`move/${part}`, "f4", [L, T], () => next() * 4);
  const per = Math.floor(E / L);
  const query = Uint16Array.from({ length: per * L }, () => Math.floor(next() * T));
  make("edge/layer", "u2", [per * L], (i) => Math.floor(i / per));
  make("edge/head", "u2", [per * L], () => Math.floor(next() * H));
  make("edge/query", "u2", [per * L], (i) => query[i]!);
  make("edge/key", "u2", [per * L], (i) => Math.floor(next() * (query[i]! + 1)));
  make("edge/attention", "f4", [per * L], () => next());
  const size = (i: number): number => 8 / (1 + (i % per) / 20);
  make("edge/message", "f4", [per * L], size);
  make("edge/contribution", "f4", [per * L], () => next() - 0.3);
  make("edge/pull", "f4", [per * L], () => 2 * next() - 1);
  for (const meaning of ["message", "attention", "contribution"]) {
    make(`rank/${meaning}`, "u4", [per * L], (i) => i);
    make(`rank_start/${meaning}`, "u4", [L + 1], (i) => i * per);
    make(`total/${meaning}`, "f4", [L, H, 3], () => 400 * next());
    make(`total_reader/${meaning}`, "f4", [L, T, 3], () => 40);
  }
  make("count", "u4", [L, H, 3], (i) => [T * T * 0.5, T, T][i % 3]!);
  const series = (low: number): number[] => stops.map((_, s) => low + 0.1 * Math.sin(s / 5));
  const header: Header = {
    format: "sociogram-frame", version: 1, arrays: {},
    model: { name: "noise", d_model: 64, logits: true },
    source: { model: "noise", text: null, sociogram: "0.0.0" },
    runs: [{
      name: "noise", tokens, prompt: null, streamed: null, stops, layers, heads: H, causal: true, predictions: [{ token: " next", probability: 0.4 }],
      audit: { relative_error: 1e-6, null_drift: 1e-7, checked: null }, words: null, neighbours: K,
      views: [{ name: "plain", label: "residual stream", components: Array.from({ length: C }, (_, c) => `PC${c + 1}`), variance: Array.from({ length: C }, (_, c) => 0.3 / (c + 1)), null_variance: Array.from({ length: C }, () => 0.02), scale: 1, fitted_without: [0], note: null }],
      measures: { names: ["cohesion"], cohesion: { label: "cohesion", unit: "", all: series(0.5), without_first: series(0.4), null_low: series(0), null_high: series(0.1) } },
      meanings: (["message", "attention", "contribution"] as const).map((name) => ({ name, label: name, signed: name === "contribution", token: null })),
    }],
  }; // prettier-ignore
  return encodeFrame(header, arrays);
}
