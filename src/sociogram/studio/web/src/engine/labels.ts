/** Texts on points: which tokens get one, what it says, and on which side it stands so that texts do not pile up. */

import type { Label, Run, Selection, State } from "../types";
import { along, arrowShape, emptyArrow } from "./geometry";
import { CLEAR, CROWD, LABEL_GAP, LABEL_SIZE, pointRadius } from "./look";

export interface Word {
  text: string;
  probability: number;
  stop: number; // where the lens looked: the nearest shipped stop, this one or before
}

interface WordIndex {
  token: Int32Array; // token -> column, -1 where none
  stop: Int32Array; // stop -> row of the nearest stop at or before, -1 where none
}

const WORDS = new WeakMap<Run, WordIndex>();

/** What the logit lens reads at a token, at this stop or the nearest one before that is in the frame. */
export function wordAt(run: Run, stop: number, token: number): Word | null {
  const { words } = run.info;
  if (!words) return null;
  let index = WORDS.get(run);
  if (!index) {
    const tokens = new Int32Array(run.info.tokens.length).fill(-1);
    words.tokens.forEach((each, column) => (tokens[each] = column));
    const stops = new Int32Array(run.info.stops.length).fill(-1);
    words.stops.forEach((each, row) => (stops[each] = row));
    for (let s = 1; s < stops.length; s++) if (stops[s] === -1) stops[s] = stops[s - 1]!;
    WORDS.set(run, (index = { token: tokens, stop: stops }));
  }
  const [row, column] = [index.stop[Math.floor(stop + 1e-6)] ?? -1, index.token[token] ?? -1];
  if (row < 0 || column < 0) return null;
  const at = row * words.tokens.length + column;
  const probability = run.array("word_probability")[at]!;
  const text = words.vocabulary[run.array("word")[at]!];
  return text === undefined || !Number.isFinite(probability) ? null : { text, probability, stop: words.stops[row]! };
}

const LONGEST = 22;

/** A token's text as it is drawn: control and direction characters made visible or left out, not too long. */
export function tokenText(text: string, longest = LONGEST): string {
  const shown = text
    .replace(/\r?\n/g, "⏎")
    .replace(/\t/g, "⇥")
    .replace(/[\u0000-\u001f\u007f-\u009f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]/g, "")
    .trim()
    .replace(/^[␣Ġ▁](?=.)/u, "");
  if (shown === "") return /\s/.test(text) ? "␣" : "∅";
  const letters = Array.from(shown);
  return letters.length > longest ? `${letters.slice(0, longest - 1).join("")}…` : shown;
}

/** Width of a text in pixels, estimated: enough to keep texts apart where nothing can be measured. */
export function estimateWidth(text: string, size = LABEL_SIZE): number {
  let ems = 0;
  for (const letter of text) {
    const code = letter.codePointAt(0)!;
    if (code >= 0x300 && code < 0x370) continue; // combining marks
    ems += code >= 0x1100 && (code < 0x2000 || code >= 0x2e80) ? 1.02 : "iljtfrI.,:;'|!()[] ".includes(letter) ? 0.34 : "mwMW@%—…→".includes(letter) ? 0.9 : letter >= "A" && letter <= "Z" ? 0.68 : 0.57;
  }
  return ems * size;
}

export interface Wish {
  token: number;
  text: string;
  word: string | null;
  probability: number;
  priority: number; // the higher the earlier
  strong: boolean;
}

type Looked = Pick<State, "token" | "pins" | "words" | "first">;

const TEXTS = new WeakMap<Run, string[]>();

/** Every token that may get a label, the most wanted first: chosen, under the pointer, pinned, readers and senders, the rest. */
export function labelWishes(run: Run, state: Looked, selection: Selection, hover: number | null, stop: number): Wish[] {
  const { tokens } = run.info;
  const T = tokens.length;
  let texts = TEXTS.get(run);
  if (!texts) TEXTS.set(run, (texts = tokens.map((text) => tokenText(text))));
  const priority = new Float64Array(T);
  const query = run.array("edge/query");
  const key = run.array("edge/key");
  selection.edges.forEach((e, rank) => {
    const near = 1 - rank / selection.edges.length; // the strongest are first
    priority[query[e]!] = Math.max(priority[query[e]!]!, 50 + 10 * near);
    priority[key[e]!] = Math.max(priority[key[e]!]!, 40 + 10 * near);
  });
  const give = (token: number | null, value: number): void => {
    if (token !== null && token >= 0 && token < T) priority[token] = Math.max(priority[token]!, value);
  };
  for (const pin of state.pins) give(pin, 70);
  give(hover, 90);
  give(state.token, 80);
  const out: Wish[] = [];
  for (let t = 0; t < T; t++) {
    const wanted = priority[t]!;
    if (T > CROWD && wanted === 0) continue; // texts in a crowd hide it and name nobody in particular
    if (t === 0 && !state.first && T > 1 && wanted < 70) continue;
    const word = state.words ? wordAt(run, stop, t) : null;
    out.push({
      token: t,
      text: texts[t]!,
      word: word ? tokenText(word.text, 16) : null,
      probability: word?.probability ?? 0,
      priority: wanted > 0 ? wanted : 10 + (9 * t) / T, // the rest: later tokens first
      strong: wanted >= 70,
    });
  }
  return out.sort((a, b) => b.priority - a.priority || b.token - a.token);
}

/** How visible a lens word of this probability is: never quite gone, never louder than it is sure. */
export function wordOpacity(probability: number): number {
  return 0.3 + 0.7 * Math.sqrt(Math.min(1, Math.max(0, probability)));
}

export interface Room {
  width: number;
  height: number;
  radius: number;
  most?: number; // labels at most (default: by the room there is)
  avoid?: readonly (readonly [left: number, top: number, width: number, height: number])[]; // where only the most wanted may stand
  arrows?: readonly number[]; // places x, y, x, y, ... on arrows: texts stand where fewest of them are
  measure?: (text: string, strong: boolean) => number; // width in pixels (default: an estimate)
}

const SIDES = ["right", "left", "above", "below"] as const;
const HIGH = LABEL_SIZE + 4;

/** Left, top, width and height of a label at a point. */
export function labelBox(x: number, y: number, wide: number, radius: number, side: NonNullable<Label["side"]>): [number, number, number, number] {
  const off = radius + LABEL_GAP;
  if (side === "right") return [x + off, y - HIGH / 2, wide, HIGH];
  if (side === "left") return [x - off - wide, y - HIGH / 2, wide, HIGH];
  return [x - wide / 2, side === "above" ? y - off - HIGH + 3 : y + off - 3, wide, HIGH];
}

/** Greedy: each wish in turn takes the first side that is free and inside; the word is left out where only the token fits. */
export function placeLabels(wishes: readonly Wish[], place: (token: number) => readonly [number, number] | null, room: Room): Label[] {
  const most = room.most ?? Math.max(6, Math.min(90, Math.floor((room.width * room.height) / 9000)));
  const measure = room.measure ?? ((text: string, strong: boolean) => estimateWidth(text) * (strong ? 1.06 : 1));
  const taken = new Boxes(room.width, room.height);
  const arrows = room.arrows ?? [];
  const avoid = room.avoid ?? [];
  const spots = new Map<number, readonly [number, number]>();
  for (const wish of wishes) {
    const at = place(wish.token);
    if (!at || at[0] < -room.radius || at[1] < -room.radius || at[0] > room.width + room.radius || at[1] > room.height + room.radius) continue;
    spots.set(wish.token, at);
    if (wish.priority >= 40 || wishes.length <= 150) taken.add(at[0] - room.radius, at[1] - room.radius, 2 * room.radius, 2 * room.radius, wish.token);
  }
  const out: Label[] = [];
  for (const wish of wishes) {
    if (out.length >= most) break;
    const at = spots.get(wish.token);
    if (!at) continue;
    const short = measure(wish.text, wish.strong);
    const long = wish.word === null ? short : measure(`${wish.text} → ${wish.word}`, wish.strong);
    for (const [wide, word] of wish.word === null ? ([[short, null]] as const) : ([[long, wish.word], [short, null]] as const)) {
      let best: NonNullable<Label["side"]> | null = null;
      let least = Infinity;
      for (const side of SIDES) {
        const [left, top, width, height] = labelBox(at[0], at[1], wide, room.radius + (wish.strong ? CLEAR : 0), side);
        if (left < 2 || top < 2 || left + width > room.width - 2 || top + height > room.height - 2) continue;
        if (taken.hit(left, top, width, height, wish.token)) continue;
        if (!wish.strong && avoid.some(([l, t, w, h]) => left < l + w && left + width > l && top < t + h && top + height > t)) continue;
        const crossed = within(arrows, left, top, width, height);
        if (crossed < least) [best, least] = [side, crossed];
        if (crossed === 0) break;
      }
      if (best === null) continue;
      taken.add(...labelBox(at[0], at[1], wide, room.radius + (wish.strong ? CLEAR : 0), best), -1);
      const label: Label = { token: wish.token, text: wish.text, opacity: wish.priority >= 40 ? 1 : 0.62, strong: wish.strong, side: best };
      if (word !== null) {
        label.word = word;
        label.wordOpacity = wordOpacity(wish.probability);
      }
      out.push(label);
      break;
    }
  }
  return out;
}

function within(points: readonly number[], left: number, top: number, width: number, height: number): number {
  let count = 0;
  for (let i = 0; i < points.length; i += 2) if (points[i]! > left && points[i]! < left + width && points[i + 1]! > top && points[i + 1]! < top + height) count++;
  return count;
}

const FOLLOWED = 150; // the strongest arrows, which texts keep away from

function arrowPoints(run: Run, selection: Selection, place: (token: number) => readonly [number, number] | null, radius: number): number[] {
  const [query, key] = [run.array("edge/query"), run.array("edge/key")];
  const out: number[] = [];
  const at = [0, 0, 0, 0];
  const arrow = emptyArrow();
  for (const e of selection.edges.subarray(0, FOLLOWED)) {
    if (query[e] === key[e]) continue;
    const [from, to] = [place(key[e]!), place(query[e]!)];
    if (!from || !to) continue;
    arrowShape(from[0], from[1], to[0], to[1], radius, radius, 1, 0, 1, arrow);
    for (let t = 0.2; t < 1; t += 0.1) {
      along(arrow, t, at);
      out.push(at[0]!, at[1]!);
    }
  }
  return out;
}

/** Both in one: what the page calls whenever the scene comes to rest. */
export function chooseLabels(run: Run, state: Looked, selection: Selection, hover: number | null, stop: number, place: (token: number) => readonly [number, number] | null, room: Omit<Room, "radius"> & { radius?: number }): Label[] {
  const radius = room.radius ?? pointRadius(run.info.tokens.length);
  return placeLabels(labelWishes(run, state, selection, hover, stop), place, {
    ...room,
    radius,
    arrows: arrowPoints(run, selection, place, radius),
    avoid: [...(room.avoid ?? []), [0, room.height - 98, 128, 98]], // the compass
  });
}

/** Boxes in a coarse grid: each is compared with its neighbours only. */
class Boxes {
  private static readonly cell = 48;
  private readonly cells = new Map<number, number[]>();
  private readonly boxes: number[] = []; // left, top, right, bottom, owner
  private readonly columns: number;

  constructor(width: number, private readonly height: number) {
    this.columns = Math.ceil(width / Boxes.cell) + 4;
  }

  private each(left: number, top: number, right: number, bottom: number, visit: (cell: number) => boolean): boolean {
    const { cell } = Boxes;
    const last = Math.ceil(this.height / cell) + 2;
    for (let r = Math.max(-1, Math.floor(top / cell)); r <= Math.min(last, Math.floor(bottom / cell)); r++) {
      for (let c = Math.max(-1, Math.floor(left / cell)); c <= Math.min(this.columns - 2, Math.floor(right / cell)); c++) {
        if (visit((r + 1) * this.columns + c + 1)) return true;
      }
    }
    return false;
  }

  add(left: number, top: number, width: number, height: number, owner: number): void {
    const index = this.boxes.length;
    this.boxes.push(left, top, left + width, top + height, owner);
    this.each(left, top, left + width, top + height, (cell) => {
      const list = this.cells.get(cell);
      if (list) list.push(index);
      else this.cells.set(cell, [index]);
      return false;
    });
  }

  /** Whether a box would cover another, other than its own point. */
  hit(left: number, top: number, width: number, height: number, owner: number): boolean {
    const [right, bottom] = [left + width, top + height];
    return this.each(left, top, right, bottom, (cell) => {
      for (const i of this.cells.get(cell) ?? []) {
        const b = this.boxes;
        if (b[i + 4] !== owner && left < b[i + 2]! && right > b[i]! && top < b[i + 3]! && bottom > b[i + 1]!) return true;
      }
      return false;
    });
  }
}
