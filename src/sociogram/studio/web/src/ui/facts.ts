/** What the page says of a run, as plain numbers. No drawing, no state: everything here is tested against the frame. */
import type { Camera, MeaningName, Run, ViewInfo } from "../types";
import { count, many } from "./text";

export const KINDS = ["between tokens", "from the first token", "to itself"] as const;

export interface EdgeRow {
  edge: number; // index into the run's edges
  layer: number;
  head: number;
  query: number;
  key: number;
  attention: number;
  message: number;
  contribution: number;
  pull: number;
  toward: number | null;
  value: number; // message / attention: how long the sender's value is in this head
}

export function edgeRow(run: Run, edge: number): EdgeRow {
  const at = (name: string): number => run.array(`edge/${name}`)[edge]!;
  const [attention, message] = [at("attention"), at("message")];
  return {
    edge, layer: at("layer"), head: at("head"), query: at("query"), key: at("key"), attention, message,
    contribution: at("contribution"), pull: at("pull"),
    toward: run.has("edge/toward") ? at("toward") : null,
    value: attention === 0 ? NaN : message / Math.abs(attention),
  }; // prettier-ignore
}

const byLayer = new WeakMap<Run, Map<number, Uint32Array>>();

/** All edges shipped of a layer, whatever selection they came with. */
export function layerEdges(run: Run, layer: number): Uint32Array {
  let known = byLayer.get(run);
  if (!known) {
    const found = new Map<number, number[]>();
    if (run.has("edge/layer")) run.array("edge/layer").forEach((l, edge) => found.get(l)?.push(edge) ?? found.set(l, [edge]));
    known = new Map([...found].map(([l, edges]) => [l, Uint32Array.from(edges)]));
    byLayer.set(run, known);
  }
  return known.get(layer) ?? new Uint32Array(0);
}

export interface Heard {
  rows: EdgeRow[]; // largest first
  shipped: number; // how many there are in the frame, rows or not
  shown: number; // sum of sizes of the rows
}

/** The edges of a layer in which `token` is the reader (`heard`) or the sender (`told`), largest by `meaning` first. */
export function edgesOf(run: Run, layer: number, token: number, side: "heard" | "told", meaning: MeaningName, options: {
  first: boolean; itself: boolean; heads?: number[]; most: number;
}): Heard {
  const size = run.array(`edge/${meaning}`);
  const head = run.array("edge/head");
  const [query, key] = [run.array("edge/query"), run.array("edge/key")];
  const [own, other] = side === "heard" ? [query, key] : [key, query];
  const found = [...layerEdges(run, layer)].filter(
    (e) =>
      own[e] === token &&
      (options.itself || other[e] !== token) &&
      (options.first || (key[e] !== 0 && query[e] !== 0)) &&
      (!options.heads?.length || options.heads.includes(head[e]!)) &&
      !Number.isNaN(size[e]!),
  );
  found.sort((a, b) => Math.abs(size[b]!) - Math.abs(size[a]!));
  const rows = found.slice(0, options.most).map((e) => edgeRow(run, e));
  return { rows, shipped: found.length, shown: rows.reduce((sum, row) => sum + Math.abs(size[row.edge]!), 0) };
}

/** Sum of the sizes of everything a reader heard in a layer, shipped or not, by kind. */
export function readerTotal(run: Run, meaning: MeaningName, layer: number, token: number): [number, number, number] {
  return triple(run, `total_reader/${meaning}`, layer * run.info.tokens.length + token);
}

export function headTotal(run: Run, meaning: MeaningName, layer: number, head: number): [number, number, number] {
  return triple(run, `total/${meaning}`, layer * run.info.heads + head);
}

export function headCount(run: Run, layer: number, head: number): [number, number, number] {
  return triple(run, "count", layer * run.info.heads + head);
}

function triple(run: Run, name: string, row: number): [number, number, number] {
  if (!run.has(name)) return [NaN, NaN, NaN];
  const array = run.array(name);
  return [array[row * 3] ?? NaN, array[row * 3 + 1] ?? NaN, array[row * 3 + 2] ?? NaN];
}

/** The kinds that the switches let through, summed; NaN counts as nothing unless there is nothing else. */
export function allowed(kinds: [number, number, number], first: boolean, itself: boolean): number {
  const wanted = kinds.filter((_, kind) => kind === 0 || (kind === 1 ? first : itself));
  const known = wanted.filter((value) => !Number.isNaN(value));
  return known.length ? known.reduce((sum, value) => sum + value, 0) : NaN;
}

export function movedAt(run: Run, stop: number, token: number): number {
  return run.has("moved") ? run.array("moved")[stop * run.info.tokens.length + token]! : NaN;
}

export const MOVES = ["moved", "from_others", "from_itself", "from_source", "from_outside", "mlp", "edited", "rest"] as const;
export type MoveName = (typeof MOVES)[number];

/** Norms of what moved a token in a layer. */
export function moves(run: Run, layer: number, token: number): Record<MoveName, number> {
  const at = (name: MoveName): number => (run.has(`move/${name}`) ? (run.array(`move/${name}`)[layer * run.info.tokens.length + token] ?? NaN) : NaN);
  return Object.fromEntries(MOVES.map((name) => [name, at(name)])) as Record<MoveName, number>;
}

export function neighbours(run: Run, stop: number, token: number): { token: number; distance: number }[] {
  const most = run.info.neighbours;
  if (!most || !run.has("neighbour")) return [];
  const start = (stop * run.info.tokens.length + token) * most;
  const tokens = run.array("neighbour").subarray(start, start + most);
  const distances = run.array("neighbour_distance").subarray(start, start + most);
  return Array.from(tokens, (other, i) => ({ token: other, distance: distances[i]! })).filter((n) => !Number.isNaN(n.distance));
}

export interface Nearest {
  near: { token: number; distance: number }[];
  where: string;
  whole: boolean; // in the full space
}

/** A token's neighbours in the full space, or, of texts so long that their file has none, in the components of a view. */
export function nearest(run: Run, view: ViewInfo, stop: number, token: number): Nearest {
  if (run.info.neighbours || run.info.tokens.length < 2) return { near: neighbours(run, stop, token), where: "the full space", whole: true };
  return { near: nearShown(run, view, stop, token, 5), where: `${view.components.length} components`, whole: false };
}

/** Tokens that are near in some components may be far apart in what these leave out. */
function nearShown(run: Run, view: ViewInfo, stop: number, token: number, most: number): { token: number; distance: number }[] {
  const [T, C] = [run.info.tokens.length, view.components.length];
  const places = run.array(`position/${view.name}`).subarray(stop * T * C, (stop + 1) * T * C);
  const far = Float64Array.from({ length: T }, (_, other) => {
    let sum = 0;
    for (let c = 0; c < C; c++) sum += (places[other * C + c]! - places[token * C + c]!) ** 2;
    return Math.sqrt(sum) * view.scale;
  });
  const found: number[] = [];
  for (let other = 0; other < T; other++) {
    if (other === token || (found.length === most && far[other]! >= far[found.at(-1)!]!)) continue;
    const at = found.findIndex((near) => far[near]! > far[other]!);
    found.splice(at < 0 ? found.length : at, 0, other);
    found.length = Math.min(found.length, most);
  }
  return found.map((other) => ({ token: other, distance: far[other]! }));
}

/** 12 tokens read, 20 written; of a run that only read: 32 tokens. */
export function lengthLine({ tokens, prompt }: Pick<Run["info"], "tokens" | "prompt">): string {
  const one = many(prompt ?? tokens.length, "token");
  return prompt === null ? one : `${one} read, ${count(tokens.length - prompt)} written`;
}

export function written({ prompt }: Pick<Run["info"], "prompt">, token: number): boolean {
  return prompt !== null && token >= prompt;
}

export interface Word {
  text: string;
  probability: number;
}

/** What the logit lens reads at a place, or null where it was not computed. */
export function wordAt(run: Run, stop: number, token: number): Word | null {
  const words = run.info.words;
  if (!words || !run.has("word")) return null;
  const row = words.stops.reduce((last, at, i) => (at <= stop ? i : last), -1); // as in the picture: the last one read on the way
  const column = words.tokens.indexOf(token);
  if (row < 0 || column < 0) return null;
  const place = row * words.tokens.length + column;
  const probability = run.array("word_probability")[place]!;
  const text = words.vocabulary[run.array("word")[place]!];
  return text === undefined || Number.isNaN(probability) ? null : { text, probability };
}

export interface TrailWord {
  text: string;
  from: number; // stops, both included
  to: number;
  low: number; // probabilities
  high: number;
}

/** The lens word of a token over the stops, runs of the same word joined. */
export function trail(run: Run, token: number): TrailWord[] {
  const found: TrailWord[] = [];
  for (const stop of run.info.words?.stops ?? []) {
    const word = wordAt(run, stop, token);
    if (!word) continue;
    const last = found.at(-1);
    if (last?.text === word.text) {
      last.to = stop;
      last.low = Math.min(last.low, word.probability);
      last.high = Math.max(last.high, word.probability);
    } else found.push({ text: word.text, from: stop, to: stop, low: word.probability, high: word.probability });
  }
  return found;
}

/** The token that moved most to get to this stop. */
export function mover(run: Run, stop: number, first: boolean): number | null {
  let best: number | null = null;
  for (let token = first ? 0 : 1; token < run.info.tokens.length; token++) {
    const far = movedAt(run, stop, token);
    if (!Number.isNaN(far) && (best === null || far > movedAt(run, stop, best))) best = token;
  }
  return best;
}

type Turn = Pick<Camera, "yaw" | "pitch">;

/** The direction that one looks along, in the three components drawn: what lies along it cannot be seen. */
function sight({ yaw, pitch }: Turn): [number, number, number] {
  return [-Math.sin(yaw) * Math.cos(pitch), Math.sin(pitch), Math.cos(yaw) * Math.cos(pitch)];
}

/** A component chosen twice counts once. */
function single(axes: readonly number[]): number[] {
  return axes.map((axis, nth) => (axes.indexOf(axis) === nth ? axis : -1));
}

/** Share of the variance that lies in the plane of the screen; components of a joint PCA are uncorrelated, so shares add up. */
export function variance(shares: readonly number[] | null, axes: readonly number[], turn: Turn): number | null {
  if (!shares) return null;
  const along = sight(turn);
  return single(axes).reduce((sum, axis, i) => sum + (axis < 0 ? 0 : (shares[axis] ?? 0)) * (1 - along[i]! ** 2), 0);
}

/** What the picture leaves out at a stop: the mean over tokens of the share of a point's distance from the centre that is not drawn. */
export function meanError(run: Run, view: ViewInfo, stop: number, axes: readonly number[], turn: Turn, first: boolean): number {
  if (!run.has(`distance/${view.name}`)) return NaN;
  const [positions, distances] = [run.array(`position/${view.name}`), run.array(`distance/${view.name}`)];
  const [T, C] = [run.info.tokens.length, view.components.length];
  const [along, drawn] = [sight(turn), single(axes)];
  let [sum, points] = [0, 0];
  for (let token = first ? 0 : 1; token < T; token++) {
    const far = distances[stop * T + token]!;
    let [shown, depth] = [0, 0];
    drawn.forEach((axis, i) => {
      const x = axis < 0 ? 0 : positions[(stop * T + token) * C + axis]! * view.scale;
      shown += x * x;
      depth += x * along[i]!;
    });
    if (!(far > 0) || Number.isNaN(shown)) continue;
    sum += Math.sqrt(Math.min(1, Math.max(0, 1 - (shown - depth * depth) / (far * far))));
    points++;
  }
  return points ? sum / points : NaN;
}
