/** A made-up recording in the real format, the same each time: for tests of the engine and of the page. */

import { gzipSync } from "node:zlib";
import { frameOf, widen } from "../src/engine/frame";
import type { ArrayEntry, Frame, Header, LayerInfo, Meaning, MeaningName, Numbers, RunInfo, Stop, Streamed } from "../src/types";

export interface TinyOptions {
  tokens?: number | string[]; // how many, or which
  layers?: number;
  heads?: number;
  components?: number;
  causal?: boolean;
  runs?: 1 | 2;
  toward?: string | null; // also a meaning "toward" of this token
  words?: boolean;
  neighbours?: number;
  opaque?: number[]; // layers whose account is not closed: no edges, no stop after attention
  parallel?: boolean; // attention and MLP in one step: parts "attention+mlp"
  keep?: number; // at most so many edges per layer, kind and meaning are shipped (default: all)
  views?: string[];
  seed?: number;
  text?: string | null;
  prompt?: number | null; // so many tokens were read, the others written
  streamed?: Streamed | null;
  moves?: string[]; // further parts of the moves that are shipped
}

export type Stored = { dtype: ArrayEntry["dtype"]; shape: number[]; data: Float32Array | Uint8Array | Uint16Array | Uint32Array };

export interface Tiny {
  header: Header;
  arrays: Record<string, Stored>; // under full names such as "0/edge/query"; f2 as bits in Uint16Array
  frame: Frame;
  bytes: Uint8Array; // gzipped, as in a page
  base64: string;
}

const TEXTS = ["<s>", "The", " cat", " sat", " on", " the", " mat", ",", " and", " the", " dog", " s", "lept", ".", "</script>", "<img src=x onerror=alert(1)>"];

/** Numbers from 0 to 1, the same for the same seed. */
export function random(seed: number): () => number {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) >>> 0;
    let t = a;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** float32 -> float16 bits, round to nearest even. */
export function toHalf(value: number): number {
  const f = new Float32Array([value]);
  const x = new Uint32Array(f.buffer)[0]!;
  const sign = (x >>> 16) & 0x8000;
  const magnitude = x & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  if (magnitude >= 0x477ff000) return sign | 0x7c00;
  if (magnitude < 0x38800000) {
    const scaled = Math.abs(f[0]!) * 2 ** 24;
    const floor = Math.floor(scaled);
    const rest = scaled - floor;
    return sign | (rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor);
  }
  const rounded = magnitude + 0xfff + ((magnitude >>> 13) & 1);
  return sign | ((rounded - 0x38000000) >>> 13);
}

const CLASS = { f4: Float32Array, f2: Uint16Array, u1: Uint8Array, u2: Uint16Array, u4: Uint32Array } as const;

function stored(dtype: ArrayEntry["dtype"], shape: number[], values: ArrayLike<number>): Stored {
  const count = shape.reduce((a, b) => a * b, 1);
  if (values.length !== count) throw new Error(`${values.length} values for ${shape.join(" x ")}`);
  const data = new CLASS[dtype](count);
  for (let i = 0; i < count; i++) data[i] = dtype === "f2" ? toHalf(values[i]!) : values[i]!;
  return { dtype, shape, data };
}

/** The bytes of docs/frame.md, before compression. Fills in `header.arrays`. */
export function packFrame(header: Header, arrays: Record<string, Stored>): Uint8Array {
  header.arrays = {};
  let offset = 0;
  for (const [name, one] of Object.entries(arrays)) {
    header.arrays[name] = { dtype: one.dtype, shape: one.shape, offset };
    offset += Math.ceil(one.data.byteLength / 8) * 8;
  }
  let json = new TextEncoder().encode(JSON.stringify(header));
  const padded = new Uint8Array(Math.ceil((8 + json.length) / 8) * 8 - 8).fill(32);
  padded.set(json);
  json = padded;
  const out = new Uint8Array(8 + json.length + offset);
  out.set(new TextEncoder().encode("SGF1"));
  new DataView(out.buffer).setUint32(4, json.length, true);
  out.set(json, 8);
  for (const [name, one] of Object.entries(arrays)) {
    out.set(new Uint8Array(one.data.buffer, one.data.byteOffset, one.data.byteLength), 8 + json.length + header.arrays[name]!.offset);
  }
  return out;
}

/** And compressed: what stands in a page. */
export function encodeFrame(header: Header, arrays: Record<string, Stored>): Uint8Array {
  return new Uint8Array(gzipSync(packFrame(header, arrays)));
}

export function tinyFrame(options: TinyOptions = {}): Tiny {
  const arrays: Record<string, Stored> = {};
  const infos: RunInfo[] = [];
  for (let index = 0; index < (options.runs ?? 1); index++) infos.push(tinyRun(options, index, arrays));
  const header: Header = {
    format: "sociogram-frame",
    version: 1,
    model: { name: "made-up", d_model: 8, logits: true },
    source: { model: "made-up", text: options.text === undefined ? infos[0]!.tokens.slice(1).join("") : options.text, sociogram: "0.0.0" },
    runs: infos,
    arrays: {},
  };
  const bytes = encodeFrame(header, arrays);
  const frame = frameOf(header, (name): Numbers => {
    const one = arrays[name]!;
    return one.dtype === "f2" ? widen(one.data as Uint16Array) : one.data;
  });
  return { header, arrays, frame, bytes, base64: Buffer.from(bytes).toString("base64") };
}

function tinyRun(options: TinyOptions, index: number, arrays: Record<string, Stored>): RunInfo {
  const next = random((options.seed ?? 7) + 1000 * index);
  const normal = (): number => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next());
  const given = options.tokens ?? 6;
  const tokens = typeof given === "number" ? Array.from({ length: given }, (_, i) => TEXTS[i] ?? ` t${i}`) : given;
  const [T, L, H] = [tokens.length, options.layers ?? 3, options.heads ?? 2];
  const C = options.components ?? 4;
  const causal = options.causal ?? true;
  const K = Math.min(options.neighbours ?? 3, T - 1);
  const opaque = new Set(options.opaque ?? []);
  const put = (name: string, dtype: ArrayEntry["dtype"], shape: number[], values: ArrayLike<number>): void => {
    arrays[`${index}/${name}`] = stored(dtype, shape, values);
  };

  const stops: Stop[] = [{ layer: -1, part: "input" }];
  const layers: LayerInfo[] = [];
  for (let l = 0; l < L; l++) {
    const before = stops.length - 1;
    if (opaque.has(l)) {
      stops.push({ layer: l, part: "layer" });
      layers.push({ status: "opaque", stop: -1, before });
    } else {
      layers.push({ status: "closed", stop: stops.length, before });
      if (options.parallel) stops.push({ layer: l, part: "attention+mlp" });
      else stops.push({ layer: l, part: "attention" }, { layer: l, part: "mlp" });
    }
  }
  const S = stops.length;

  // where the tokens are: random walks that also drift a little, in 8 dimensions
  const D = Math.max(8, C);
  const place = new Float64Array(S * T * D);
  const moved = new Float32Array(S * T);
  for (let t = 0; t < T; t++) {
    for (let s = 0; s < S; s++) {
      let square = 0;
      for (let d = 0; d < D; d++) {
        const step = (s === 0 ? 1 : 0.5 + 0.1 * s) * normal() * (d < C ? 1 : 0.5) + (s > 0 && d === 0 ? 0.6 : 0);
        const at = (s * T + t) * D + d;
        place[at] = s === 0 ? step : place[at - T * D]! + step;
        if (t === 0 && d === 1) place[at]! += 40; // a sink far away
        if (s > 0) square += step * step;
      }
      moved[s * T + t] = Math.sqrt(square);
    }
  }
  const distanceOf = (s: number, a: number, b: number): number => {
    let sum = 0;
    for (let d = 0; d < D; d++) sum += (place[(s * T + a) * D + d]! - place[(s * T + b) * D + d]!) ** 2;
    return Math.sqrt(sum);
  };
  const norm = new Float32Array(S * T);
  for (let i = 0; i < S * T; i++) {
    let sum = 0;
    for (let d = 0; d < D; d++) sum += place[i * D + d]! ** 2;
    norm[i] = Math.sqrt(sum);
  }
  const views = (options.views ?? ["plain", "centred"]).map((name, nth) => {
    const scale = 2;
    const position = new Float32Array(S * T * C);
    for (let i = 0; i < S * T; i++) for (let c = 0; c < C; c++) position[i * C + c] = place[i * D + ((c + nth) % D)]! / scale;
    put(`position/${name}`, "f2", [S, T, C], position);
    put(`distance/${name}`, "f4", [S, T], norm);
    const variance = Array.from({ length: C }, (_, c) => 0.4 / (c + 1));
    return {
      name,
      label: name === "plain" ? "as it is" : name,
      components: Array.from({ length: C }, (_, c) => `PC${c + 1}`),
      variance,
      null_variance: nth === 0 ? variance.map((v) => v / 3) : null,
      scale,
      fitted_without: [0],
      note: nth === 0 ? null : "layer means are removed",
    };
  });
  put("norm", "f4", [S, T], norm);
  put("moved", "f4", [S, T], moved);

  const neighbour = new Uint16Array(S * T * K);
  const neighbourDistance = new Float32Array(S * T * K);
  for (let s = 0; s < S; s++) {
    for (let t = 0; t < T; t++) {
      const near = Array.from({ length: T }, (_, other) => other).filter((other) => other !== t);
      near.sort((a, b) => distanceOf(s, t, a) - distanceOf(s, t, b));
      for (let k = 0; k < K; k++) {
        neighbour[(s * T + t) * K + k] = near[k]!;
        neighbourDistance[(s * T + t) * K + k] = distanceOf(s, t, near[k]!);
      }
    }
  }
  put("neighbour", "u2", [S, T, K], neighbour);
  put("neighbour_distance", "f4", [S, T, K], neighbourDistance);
  for (const part of ["moved", "from_others", "from_itself", "mlp", "rest", ...(options.moves ?? [])]) {
    put(`move/${part}`, "f4", [L, T], Array.from({ length: L * T }, (_, i) => (opaque.has(Math.floor(i / T)) ? NaN : 0.2 + next())));
  }

  // all edges first, then what is shipped of them
  const toward = options.toward ?? null;
  const meanings: Meaning[] = [
    { name: "message", label: "message norm", signed: false, token: null },
    { name: "attention", label: "attention weight", signed: false, token: null },
    { name: "contribution", label: "contribution", signed: true, token: null },
  ];
  if (options.streamed) meanings.pop(); // message and attention alone
  if (toward !== null) meanings.push({ name: "toward", label: `toward ${toward}`, signed: true, token: toward });
  interface Edge {
    layer: number;
    head: number;
    query: number;
    key: number;
    kind: 0 | 1 | 2;
    value: Record<MeaningName, number>;
    pull: number;
    shipped: boolean;
  }
  const edges: Edge[] = [];
  for (let layer = 0; layer < L; layer++) {
    if (opaque.has(layer)) continue;
    for (let head = 0; head < H; head++) {
      for (let query = 0; query < T; query++) {
        const keys = Array.from({ length: causal ? query + 1 : T }, (_, key) => key);
        const scores = keys.map((key) => Math.exp(1.2 * normal() + (key === 0 ? 2 : 0)));
        const sum = scores.reduce((a, b) => a + b, 0);
        for (const key of keys) {
          const attention = scores[key]! / sum;
          const message = attention * (key === 0 ? 0.3 : 1 + next());
          edges.push({
            layer,
            head,
            query,
            key,
            kind: query === key ? 2 : key === 0 ? 1 : 0,
            value: { attention, message, contribution: message * (next() - 0.3), toward: message * normal() },
            pull: query === key ? NaN : 2 * next() - 1,
            shipped: options.keep === undefined,
          });
        }
      }
    }
  }
  const bySize = (name: MeaningName) => (a: Edge, b: Edge) => Math.abs(b.value[name]) - Math.abs(a.value[name]);
  const chosen = {} as Record<MeaningName, Set<Edge>>;
  for (const { name } of meanings) {
    chosen[name] = new Set();
    for (let l = 0; l < L; l++) {
      for (const kind of [0, 1, 2]) {
        const here = edges.filter((e) => e.layer === l && e.kind === kind).sort(bySize(name));
        for (const edge of here.slice(0, options.keep ?? here.length)) {
          edge.shipped = true;
          chosen[name].add(edge);
        }
      }
    }
  }
  const shipped = edges.filter((e) => e.shipped);
  const place_ = new Map(shipped.map((edge, i) => [edge, i]));
  const E = shipped.length;
  for (const column of ["layer", "head", "query", "key"] as const) put(`edge/${column}`, "u2", [E], shipped.map((e) => e[column]));
  for (const { name } of meanings) put(`edge/${name}`, "f4", [E], shipped.map((e) => e.value[name]));
  if (options.streamed) put("edge/contribution", "f4", [E], shipped.map((e) => e.value.contribution));
  put("edge/pull", "f4", [E], shipped.map((e) => e.pull));
  const count = new Uint32Array(L * H * 3);
  for (const e of edges) count[(e.layer * H + e.head) * 3 + e.kind]!++;
  put("count", "u4", [L, H, 3], count);
  for (const { name } of meanings) {
    const rank: number[] = [];
    const start = [0];
    const total = new Float64Array(L * H * 3);
    const reader = new Float64Array(L * T * 3);
    for (const e of edges) {
      total[(e.layer * H + e.head) * 3 + e.kind]! += Math.abs(e.value[name]);
      reader[(e.layer * T + e.query) * 3 + e.kind]! += Math.abs(e.value[name]);
    }
    for (let l = 0; l < L; l++) {
      for (const edge of [...chosen[name]].filter((e) => e.layer === l).sort(bySize(name))) rank.push(place_.get(edge)!);
      start.push(rank.length);
    }
    put(`rank/${name}`, "u4", [rank.length], rank);
    put(`rank_start/${name}`, "u4", [L + 1], start);
    put(`total/${name}`, "f4", [L, H, 3], total);
    put(`total_reader/${name}`, "f4", [L, T, 3], reader);
  }

  // the logit lens: at all stops, for all tokens but the first
  let words: RunInfo["words"] = null;
  if (options.words ?? true) {
    const vocabulary = [" mat", " dog", " slept", " and", "<b>bold</b>"];
    const which = Array.from({ length: T }, (_, t) => t).slice(T > 1 ? 1 : 0);
    const at = Array.from({ length: S }, (_, s) => s).filter((s) => s % 2 === 0);
    words = { vocabulary, stops: at, tokens: which };
    put("word", "u2", [at.length, which.length], Array.from({ length: at.length * which.length }, () => Math.floor(next() * vocabulary.length)));
    put("word_probability", "f4", [at.length, which.length], Array.from({ length: at.length * which.length }, () => next()));
  }
  const series = (low: number, missing = false): (number | null)[] => Array.from({ length: S }, (_, s) => (missing && s === 0 ? null : low + 0.05 * s));
  return {
    name: index === 0 ? "first" : "second",
    tokens,
    prompt: options.prompt ?? null,
    streamed: options.streamed ?? null,
    stops,
    layers,
    heads: H,
    causal,
    predictions: [
      { token: " mat", probability: 0.5 },
      { token: " dog", probability: 0.2 },
    ],
    audit: { relative_error: 1e-6, null_drift: 1e-7, checked: options.streamed ? 16 : null },
    views,
    measures: {
      names: ["cohesion", "alignment"],
      cohesion: { label: "cohesion", unit: "", all: series(0.2), without_first: series(0.1), null_low: series(0), null_high: series(0.05) },
      alignment: { label: "alignment of the moves", unit: "", all: series(0.3, true), without_first: series(0.2, true), null_low: series(0, true), null_high: series(0.1, true) },
    },
    meanings,
    words,
    neighbours: K,
  };
}

export interface LargeOptions {
  tokens: number;
  layers: number;
  heads: number;
  edges: number; // in all layers together, only of kind 0
  components?: number;
  seed?: number;
}

/** A frame of the size of a long prompt, for timing: random walks, random edges, totals made up around them. Not whole. */
export function largeFrame(options: LargeOptions): { header: Header; arrays: Record<string, Stored>; bytes: Uint8Array; base64: string } {
  const next = random(options.seed ?? 1);
  const normal = (): number => next() + next() + next() + next() - 2;
  const { tokens: T, layers: L, heads: H } = options;
  const C = options.components ?? 16;
  const S = 1 + 2 * L;
  const K = 4;
  const E = options.edges;
  const arrays: Record<string, Stored> = {};
  const put = (name: string, dtype: ArrayEntry["dtype"], shape: number[], values: ArrayLike<number>): void => {
    arrays[`0/${name}`] = stored(dtype, shape, values);
  };
  const fill = (n: number, value: (i: number) => number): Float32Array => Float32Array.from({ length: n }, (_, i) => value(i));
  const position = new Float32Array(S * T * C);
  for (let i = 0; i < T * C; i++) position[i] = 3 * normal();
  for (let i = T * C; i < S * T * C; i++) position[i] = position[i - T * C]! + normal();
  put("position/plain", "f2", [S, T, C], position);
  put("distance/plain", "f4", [S, T], fill(S * T, () => 30 + next()));
  put("norm", "f4", [S, T], fill(S * T, () => 30 + next()));
  put("moved", "f4", [S, T], fill(S * T, next));
  put("neighbour", "u2", [S, T, K], Uint16Array.from({ length: S * T * K }, (_, i) => (Math.floor(i / K) + 1 + (i % K)) % T));
  put("neighbour_distance", "f4", [S, T, K], fill(S * T * K, () => 1 + next()));
  for (const part of ["moved", "from_others", "from_itself", "mlp", "rest"]) put(`move/${part}`, "f4", [L, T], fill(L * T, next));
  const layer = Uint16Array.from({ length: E }, (_, e) => Math.floor((e * L) / E));
  const query = Uint16Array.from({ length: E }, () => 2 + Math.floor(next() * (T - 2)));
  const key = query.map((q) => 1 + Math.floor(next() * (q - 1)));
  put("edge/layer", "u2", [E], layer);
  put("edge/head", "u2", [E], Uint16Array.from({ length: E }, () => Math.floor(next() * H)));
  put("edge/query", "u2", [E], query);
  put("edge/key", "u2", [E], key);
  const size: Record<string, Float32Array> = {};
  for (const name of ["attention", "message", "contribution"]) put(`edge/${name}`, "f4", [E], (size[name] = fill(E, () => next() ** 4)));
  put("edge/pull", "f4", [E], fill(E, () => 2 * next() - 1));
  put("count", "u4", [L, H, 3], Uint32Array.from({ length: L * H * 3 }, (_, i) => (i % 3 === 0 ? ((T - 1) * (T - 2)) / 2 : i % 3 === 1 ? T - 1 : T)));
  const meanings: Meaning[] = (["message", "attention", "contribution"] as const).map((name) => ({ name, label: name, signed: name === "contribution", token: null }));
  const start = Uint32Array.from({ length: L + 1 }, (_, l) => Math.ceil((l * E) / L));
  for (const { name } of meanings) {
    const rank: number[] = [];
    for (let l = 0; l < L; l++) rank.push(...Array.from({ length: start[l + 1]! - start[l]! }, (_, i) => start[l]! + i).sort((a, b) => size[name]![b]! - size[name]![a]!));
    put(`rank/${name}`, "u4", [E], rank);
    put(`rank_start/${name}`, "u4", [L + 1], start);
    put(`total/${name}`, "f4", [L, H, 3], fill(L * H * 3, () => E / L / H));
    put(`total_reader/${name}`, "f4", [L, T, 3], fill(L * T * 3, () => E / L / T));
  }
  const variance = Array.from({ length: C }, (_, c) => 0.3 / (c + 1));
  const info: RunInfo = {
    name: "long",
    tokens: Array.from({ length: T }, (_, t) => (t === 0 ? "<s>" : ` w${t}`)),
    stops: Array.from({ length: S }, (_, s) => (s === 0 ? { layer: -1, part: "input" } : { layer: (s - 1) >> 1, part: s % 2 ? "attention" : "mlp" })),
    layers: Array.from({ length: L }, (_, l) => ({ status: "closed", stop: 1 + 2 * l, before: 2 * l })),
    heads: H,
    causal: true,
    predictions: [],
    audit: { relative_error: null, null_drift: null, checked: null },
    prompt: null,
    streamed: null,
    views: [{ name: "plain", label: "as it is", components: variance.map((_, c) => `PC${c + 1}`), variance, null_variance: null, scale: 1, fitted_without: [0], note: null }],
    measures: { names: [] },
    meanings,
    words: null,
    neighbours: K,
  };
  const header: Header = { format: "sociogram-frame", version: 1, model: { name: "made-up", d_model: 64, logits: false }, source: { model: "made-up", text: null, sociogram: "0.0.0" }, runs: [info], arrays: {} };
  const bytes = encodeFrame(header, arrays);
  return { header, arrays, bytes, base64: Buffer.from(bytes).toString("base64") };
}
