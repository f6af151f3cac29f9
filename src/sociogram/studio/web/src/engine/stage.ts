/** What both renderers know about a scene: where everything is, who is visible, and which part each token has in the picture. */

import type { Run, Scene, Selection, ViewInfo } from "../types";
import { CROWD, pointRadius, widest } from "./look";
import { emptyLens, fitAt, fitsOf, lensOf, placeAt, positionsOf, withToken, type Fit, type Lens, type Positions } from "./project";

/** Parts of tokens, as bits. */
export const HIDDEN = 1;
export const CHOSEN = 2;
export const PINNED = 4;
export const HOVERED = 8;
export const FIRST = 16;
export const IDLE = 32; // arrows are drawn, and none from or to this token; or it is one of a crowd

/** A path drawn: of the token looked at (0) or of a pinned one (1). */
export interface Path {
  token: number;
  style: 0 | 1;
}

export class Stage {
  front: Run | null = null;
  other: Run | null = null;
  width = 1;
  height = 1;
  ratio = 1;
  view: ViewInfo | null = null;
  axes: [number, number, number] = [0, 1, 2];
  here: Positions | null = null; // positions of the run in front
  there: Positions | null = null; // and of the other
  private fits: { whole: Fit; stops: Fit[] } | null = null; // with the token looked at
  private ownFits: { whole: Fit; stops: Fit[] } | null = null; // without
  private fittedGhosts = false;
  private readonly fit: Fit = { centre: [0, 0, 0], half: [1, 1, 1] }; // of this moment
  lens: Lens = emptyLens();
  parts = new Uint8Array(0);
  ribbons = new Uint32Array(0); // edge and how many lie between the same two already, weakest first
  rings = new Uint32Array(0); // the same for messages to itself
  paths: Path[] = [];
  size = new Float32Array(0); // of every edge in the meaning
  radius = 4;
  widest = 7;
  time = 0;
  grown = 1; // how far the arrows have got on their way
  fade = 1; // and how much of them is left afterwards
  // counters: what has changed since a renderer last looked
  places = 0;
  chosen = 0;
  routes = 0;
  roles = 0;
  meaning = "";
  first = false;
  private scene: Scene | null = null;
  private seen: { selection: Selection | null; token: number | null; hover: number | null; pins: readonly number[]; first: boolean } = { selection: null, token: null, hover: null, pins: [], first: false };

  setRun(front: Run, other: Run | null): void {
    this.front = front;
    this.other = other;
    this.view = null;
    this.meaning = "";
    this.parts = new Uint8Array(front.info.tokens.length);
    this.radius = pointRadius(front.info.tokens.length);
    this.seen.selection = null;
    this.seen.token = -1;
    this.routes++;
  }

  resize(width: number, height: number, ratio: number): void {
    this.width = Math.max(1, width);
    this.height = Math.max(1, height);
    this.ratio = Math.max(0.5, ratio);
    if (this.scene && this.fits) this.takeCamera(this.scene);
  }

  /** Takes a scene in; false where there is nothing to draw yet. Allocates only when something other than time or camera changed. */
  update(scene: Scene): boolean {
    const run = this.front;
    if (!run) return false;
    this.scene = scene;
    const { axes, view } = scene;
    if (view !== this.view || axes[0] !== this.axes[0] || axes[1] !== this.axes[1] || axes[2] !== this.axes[2]) this.takeView(run, view, axes);
    if (scene.ghosts !== this.fittedGhosts || !this.ownFits) {
      this.fittedGhosts = scene.ghosts;
      this.ownFits = fitsOf(scene.ghosts && this.there ? [this.here!, this.there] : [this.here!], view.fitted_without);
      this.fits = null;
    }
    if (!this.fits || scene.token !== this.seen.token) this.fits = scene.token !== null && scene.token < run.info.tokens.length ? withToken(this.ownFits, this.here!, scene.token) : this.ownFits;
    if (scene.meaning !== this.meaning && run.has(`edge/${scene.meaning}`)) {
      this.meaning = scene.meaning;
      const values = run.array(`edge/${scene.meaning}`);
      this.size = new Float32Array(values.length);
      for (let e = 0; e < values.length; e++) this.size[e] = Math.abs(values[e]!) || 0;
    }
    const { seen } = this;
    const { selection, token, hover, pins, first } = scene;
    const samePins = seen.pins === pins;
    if (selection !== seen.selection) this.takeSelection(run, selection);
    if (token !== seen.token || !samePins) {
      this.paths = pins.filter((pin) => pin !== token && pin < run.info.tokens.length).map((pin) => ({ token: pin, style: 1 }));
      if (token !== null && token < run.info.tokens.length) this.paths.push({ token, style: 0 });
      this.routes++;
    }
    if (selection !== seen.selection || token !== seen.token || hover !== seen.hover || !samePins || first !== seen.first) this.takeParts(run, scene);
    seen.selection = selection;
    seen.token = token;
    seen.hover = hover;
    seen.pins = pins;
    seen.first = this.first = first;
    const last = run.info.stops.length - 1;
    this.time = Math.min(last, Math.max(0, scene.time || 0));
    this.takeClock(run, selection);
    this.takeCamera(scene);
    return true;
  }

  private takeCamera(scene: Scene): void {
    const fit = scene.camera.follow === false ? this.fits!.whole : fitAt(this.fits!.stops, this.time, this.fit);
    lensOf(fit, scene.camera, this.width, this.height, this.lens, scene.insets);
  }

  /** Where a token of the run in front is: pixel x, y and depth; false where it is nowhere or hidden. Writes into `out`. */
  where(token: number, out: { [index: number]: number }): boolean {
    if (!this.here || token < 0 || token >= this.here.tokens || this.parts[token]! & HIDDEN) return false;
    placeAt(this.here, this.lens, this.time, token, out);
    return Number.isFinite(out[0]) && Number.isFinite(out[1]);
  }

  place(token: number): [number, number] | null {
    return this.where(token, SPOT) ? [SPOT[0]!, SPOT[1]!] : null;
  }

  pick(x: number, y: number, reach: number): number | null {
    let best: number | null = null;
    let least = (reach + this.radius) ** 2;
    for (let t = 0; t < this.parts.length; t++) {
      if (!this.where(t, SPOT)) continue;
      const away = (SPOT[0]! - x) ** 2 + (SPOT[1]! - y) ** 2;
      if (away <= least) [best, least] = [t, away];
    }
    return best;
  }

  private takeView(run: Run, view: ViewInfo, axes: readonly [number, number, number]): void {
    this.view = view;
    this.axes = [...axes];
    this.here = positionsOf(run, view, axes);
    const same = this.other?.info.views.find((each) => each.name === view.name);
    this.there = same && same.components.length > Math.max(...axes) ? positionsOf(this.other!, same, axes) : null;
    if (this.there && same!.scale !== view.scale) {
      const factor = same!.scale / view.scale;
      for (let i = 0; i < this.there.data.length; i++) this.there.data[i]! *= factor;
    }
    this.ownFits = this.fits = null;
    this.places++;
  }

  /** Ribbons and rings apart, the strongest last so that they lie on top. */
  private takeSelection(run: Run, selection: Selection): void {
    const { edges } = selection;
    const query = run.array("edge/query");
    const key = run.array("edge/key");
    const T = run.info.tokens.length;
    const between = new Map<number, number>();
    const [ribbons, rings]: [number[], number[]] = [[], []];
    for (let i = 0; i < edges.length; i++) {
      const e = edges[i]!;
      const pair = query[e]! * T + key[e]!;
      const nth = between.get(pair) ?? 0;
      between.set(pair, nth + 1);
      (query[e] === key[e] ? rings : ribbons).push(nth, e); // reversed below
    }
    this.ribbons = Uint32Array.from(ribbons.reverse());
    this.rings = Uint32Array.from(rings.reverse());
    this.widest = widest(edges.length);
    this.chosen++;
  }

  private takeParts(run: Run, scene: Scene): void {
    const { parts } = this;
    const { edges } = scene.selection;
    parts.fill(edges.length > 0 || parts.length > CROWD ? IDLE : 0);
    const query = run.array("edge/query");
    const key = run.array("edge/key");
    for (let i = 0; i < edges.length; i++) {
      parts[query[edges[i]!]!]! &= ~IDLE;
      parts[key[edges[i]!]!]! &= ~IDLE;
    }
    const mark = (token: number | null, part: number): void => {
      if (token !== null && token >= 0 && token < parts.length) parts[token] = (parts[token]! | part) & ~IDLE;
    };
    mark(scene.token, CHOSEN);
    mark(scene.hover, HOVERED);
    for (const pin of scene.pins) mark(pin, PINNED);
    parts[0]! |= FIRST;
    if (!scene.first && parts.length > 1 && !(parts[0]! & (CHOSEN | PINNED))) parts[0]! |= HIDDEN;
    this.roles++;
  }

  /** Arrows of a layer grow on the way to its stop after attention, and fade on the way from it; held ones stand still. */
  private takeClock(run: Run, selection: Selection): void {
    this.grown = this.fade = 1;
    const s = Math.floor(this.time);
    const share = this.time - s;
    if (share === 0 || selection.layer === null) return;
    const stop = run.info.layers[selection.layer]?.stop ?? -1;
    if (stop === s + 1) this.grown = Math.min(1, share * 1.15);
    else if (stop === s) this.fade = Math.max(0, 1 - share * 2.2);
  }
}

const SPOT = new Float64Array(3);

/** What to draw at a stop of a path: how one got there. */
export function dotShape(part: string): 0 | 1 | 2 | 3 {
  if (part === "input") return 2; // an open ring
  if (part.startsWith("attention")) return 0; // a disc, also for attention and MLP in one step
  if (part === "mlp") return 1; // a square
  return 3; // a diamond: a layer of another kind
}
