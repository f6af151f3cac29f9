/** Which edges are drawn at a stop, and what share of everything they carry. */

import type { Kind, MeaningName, Run, Selection, State } from "../types";

const SIZES = new WeakMap<Run, Map<MeaningName, Float32Array>>();

/** Size of every shipped edge in a meaning: the absolute value, 0 where it does not exist. */
export function sizes(run: Run, meaning: MeaningName): Float32Array {
  let known = SIZES.get(run);
  if (!known) SIZES.set(run, (known = new Map()));
  let found = known.get(meaning);
  if (!found) {
    const values = run.array(`edge/${meaning}`);
    found = new Float32Array(values.length);
    for (let e = 0; e < values.length; e++) {
      const size = Math.abs(values[e]!);
      found[e] = size === size ? size : 0;
    }
    known.set(meaning, found);
  }
  return found;
}

export function kindOf(query: number, key: number): Kind {
  return query === key ? 2 : key === 0 ? 1 : 0;
}

/** The layer whose tokens stand at this stop after attention; null at the input, after an MLP, in a layer without an account. */
export function attentionLayer(run: Run, stop: number): number | null {
  const layers = run.info.layers;
  for (let l = 0; l < layers.length; l++) if (layers[l]!.stop === stop) return l;
  return null;
}

/** The layer a stop belongs to; null at the input. Between two stops: the one with arrows, else the later. */
export function layerOfStop(run: Run, stop: number): number | null {
  const arrows = arrowLayer(run, stop);
  if (arrows !== null) return arrows;
  const layer = run.info.stops[nextStop(run, stop)]?.layer ?? -1;
  return layer < 0 ? null : layer;
}

/** Whether arrows are drawn here: tokens hear each other on the way to a stop after attention, and nowhere else. */
export function showsArrows(run: Run, stop: number): boolean {
  return arrowLayer(run, stop) !== null;
}

function nextStop(run: Run, stop: number): number {
  return Math.max(0, Math.min(run.info.stops.length - 1, Math.ceil(stop - 1e-6)));
}

/** On the way to a stop after attention its arrows grow; on the way from it they still fade. */
function arrowLayer(run: Run, stop: number): number | null {
  const to = nextStop(run, stop);
  return attentionLayer(run, to) ?? (to - stop > 1e-6 ? attentionLayer(run, to - 1) : null);
}

function none(layer: number | null): Selection {
  return { edges: new Uint32Array(0), largest: 0, shown: 0, total: 0, hidden: 0, counted: "all", layer, heard: null };
}

/** The kinds of edges that a state allows. */
export function kindsOf(state: Pick<State, "first" | "itself">): Kind[] {
  const kinds: Kind[] = [0];
  if (state.first) kinds.push(1);
  if (state.itself) kinds.push(2);
  return kinds;
}

type Wanted = Pick<State, "stop" | "layer" | "meaning" | "heads" | "first" | "itself" | "token" | "threshold" | "arrows">;

/**
 * The strongest allowed edges of a layer in the meaning's own ranking.
 *
 * `total` and `hidden` count every edge, shipped or not, wherever the frame's totals allow that: for the whole layer by head
 * and kind, for one token when the frame holds all edges of the layer. Else `counted` is "shipped", and both count the
 * shipped edges only, which is less than there is. What a token *heard* from all heads is known exactly in any case.
 */
export function select(run: Run, state: Wanted): Selection {
  const { info } = run;
  const layer = state.layer ?? arrowLayer(run, state.stop);
  if (layer === null || layer < 0 || layer >= info.layers.length || !run.has(`rank/${state.meaning}`)) return none(null);
  const rank = run.array(`rank/${state.meaning}`);
  const start = run.array(`rank_start/${state.meaning}`);
  const [from, to] = [start[layer]!, start[layer + 1]!];
  const size = sizes(run, state.meaning);
  const head = run.array("edge/head");
  const query = run.array("edge/query");
  const key = run.array("edge/key");
  const heads = state.heads.length > 0 ? new Set(state.heads) : null;
  const { first, itself, token } = state;

  const chosen: number[] = [];
  let [largest, shown, shipped, allowed, heardShown] = [0, 0, 0, 0, 0];
  const most = Math.max(0, Math.floor(state.arrows));
  for (let i = from; i < to; i++) {
    const e = rank[i]!;
    const [q, k] = [query[e]!, key[e]!];
    if (!allows(q, k, first, itself)) continue;
    if (heads && !heads.has(head[e]!)) continue;
    if (token !== null && q !== token && k !== token) continue;
    const s = size[e]!;
    allowed++;
    shipped += s;
    if (s > largest) largest = s; // ranked, so this is the first; not relied upon
    if (chosen.length < most && s > 0 && s >= state.threshold * largest) {
      chosen.push(e);
      shown += s;
      if (token !== null && q === token) heardShown += s;
    }
  }

  const exact = exactTotals(run, state, layer, heads, to - from);
  const result: Selection = {
    edges: Uint32Array.from(chosen),
    largest,
    shown,
    total: shipped,
    hidden: allowed - chosen.length,
    counted: "shipped",
    layer,
    heard: null,
  };
  if (exact === "whole") result.counted = "all";
  else if (exact) {
    result.counted = "all";
    result.total = exact.total;
    result.hidden = Math.max(0, exact.count - chosen.length);
  }
  if (token !== null && !heads && (first || token !== 0)) {
    const byReader = run.array(`total_reader/${state.meaning}`);
    let total = 0;
    for (const kind of kindsOf(state)) total += finite(byReader[(layer * info.tokens.length + token) * 3 + kind]!);
    result.heard = { shown: heardShown, total };
  }
  return result;
}

function allows(query: number, key: number, first: boolean, itself: boolean): boolean {
  if (query === key) return itself && (first || query !== 0);
  return first || (key !== 0 && query !== 0);
}

function finite(value: number): number {
  return Number.isFinite(value) ? value : 0;
}

/** Sum and number of all allowed edges, from the frame's totals; "whole" where counting the shipped is exact; null where neither. */
function exactTotals(run: Run, state: Wanted, layer: number, heads: Set<number> | null, ranked: number): { total: number; count: number } | "whole" | null {
  const { info } = run;
  const [T, H] = [info.tokens.length, info.heads];
  const count = run.array("count");
  let every = 0;
  for (let i = layer * H * 3; i < (layer + 1) * H * 3; i++) every += count[i]!;
  if (ranked >= every) return "whole";
  if (state.token !== null) return null;

  const kinds = kindsOf(state);
  const totals = run.array(`total/${state.meaning}`);
  let [total, edges] = [0, 0];
  for (let h = 0; h < H; h++) {
    if (heads && !heads.has(h)) continue;
    for (const kind of kinds) {
      total += finite(totals[(layer * H + h) * 3 + kind]!);
      edges += count[(layer * H + h) * 3 + kind]!;
    }
  }
  if (state.first) return { total, count: edges };
  // The first token is left out as a reader too. What it heard is known by kind, but not by head.
  const byReader = run.array(`total_reader/${state.meaning}`);
  for (const kind of kinds) {
    if (kind === 0 && info.causal) continue; // nothing comes before it
    const heard = finite(byReader[(layer * T + 0) * 3 + kind]!);
    if (heads) {
      if (heard > 0) return null;
      continue;
    }
    total -= heard;
    for (let h = 0; h < H; h++) {
      const here = count[(layer * H + h) * 3 + kind]!;
      if (here > 0) edges -= kind === 2 ? 1 : Math.min(here, T - 1);
    }
  }
  return { total: Math.max(0, total), count: edges };
}

/**
 * Sums of sizes of all edges, layers x heads, for the head matrix. `layer`: only this one's row is filled, else all are.
 * A layer without an account has NaN.
 */
export function headTotals(run: Run, meaning: MeaningName, layer: number | null, kinds: readonly Kind[]): Float64Array {
  const { info } = run;
  const [L, H] = [info.layers.length, info.heads];
  const out = new Float64Array(L * H).fill(NaN);
  const totals = run.array(`total/${meaning}`);
  for (let l = 0; l < L; l++) {
    if ((layer !== null && l !== layer) || info.layers[l]!.status !== "closed") continue;
    for (let h = 0; h < H; h++) {
      let sum = 0;
      for (const kind of kinds) sum += totals[(l * H + h) * 3 + kind]!;
      out[l * H + h] = sum;
    }
  }
  return out;
}
