/** The picture as SVG: for small prompts, for print and export, and where there is no WebGL2. */

import type { Palette, Renderer, Run, Scene } from "../types";
import { compass, strokeOf } from "./compass";
import { arrowShape, emptyArrow, fixed, outline } from "./geometry";
import { labelBox } from "./labels";
import {
  arrowOpacity,
  arrowWidth,
  casing,
  CLEAR,
  DEPTH_FADE,
  DEPTH_SIZE,
  DOT,
  DOTS_ON,
  DOTS_PERIOD,
  FADE,
  FONT,
  HALO,
  idleSize,
  hex,
  LABEL_SIZE,
  PATH,
  pullColour,
  RING_GAP,
  RING_STEP,
  WAKE,
  wakeEvery,
  wakeShare,
} from "./look";
import { placeAt } from "./project";
import { CHOSEN, dotShape, FIRST, HIDDEN, HOVERED, IDLE, PINNED, Stage } from "./stage";

/** SVG draws no more arrows than this, the strongest. */
export const SVG_ARROWS = 400;
const WITH_GRADIENT = 160;

/** An element to be: its text, if any, is only ever set as text. */
export interface Shape {
  tag: string;
  attrs: Record<string, string | number>;
  text?: string;
  children?: Shape[];
}

const LAYERS = ["defs", "wakes", "ghosts", "idle", "paths", "arrows", "rings", "points", "labels", "compass"] as const;
type Layer = (typeof LAYERS)[number];
type Picture = Record<Layer, Shape[]>;

/** Everything in a scene as shapes, layer by layer from the back. `prefix` keeps ids of several pictures in one document apart. */
export function picture(stage: Stage, scene: Scene, prefix: string): Picture {
  const out: Picture = { defs: [], wakes: [], ghosts: [], idle: [], paths: [], arrows: [], rings: [], points: [], labels: [], compass: [] };
  if (!stage.here) return out;
  if (scene.wakes ?? true) wakes(stage, scene.colours, out.wakes);
  if (scene.ghosts) ghosts(stage, scene.colours, out.ghosts);
  paths(stage, scene.colours, out.paths);
  arrows(stage, scene, prefix, out);
  rings(stage, scene, out.rings);
  points(stage, scene.colours, out.idle, out.points);
  labels(stage, scene, out.labels);
  if (scene.compass ?? true) marks(stage, scene, out.compass);
  return out;
}

const A = new Float64Array(3);
const B = new Float64Array(3);
const nearness = (depth: number): number => Math.min(1, Math.max(-1, depth));
const bigger = (depth: number): number => 1 + DEPTH_SIZE * nearness(depth);
const paler = (depth: number): number => 1 - DEPTH_FADE * (0.5 - 0.5 * nearness(depth));

function wakes(stage: Stage, colours: Palette, out: Shape[]): void {
  const before = Math.ceil(stage.time - 1e-6) - 1;
  if (before < 0) return;
  const every = wakeEvery(stage.parts.length);
  for (let t = 0; t < stage.parts.length; t++) {
    if (t % every && stage.parts[t]! & IDLE) continue;
    if (!stage.where(t, B) || stage.parts[t]! & (CHOSEN | PINNED)) continue;
    const [x, y, depth] = [B[0]!, B[1]!, B[2]!];
    placeAt(stage.here!, stage.lens, before, t, A);
    const [dx, dy] = [x - A[0]!, y - A[1]!];
    const long = Math.hypot(dx, dy);
    if (!(long > 1)) continue;
    const half = stage.radius * bigger(depth) * WAKE;
    const [nx, ny] = [(-dy / long) * half, (dx / long) * half];
    const idle = (stage.parts[t]! & IDLE ? 0.5 : 1) * wakeShare(stage.parts.length);
    out.push({
      tag: "path",
      attrs: { d: `M${fixed(A[0]!)} ${fixed(A[1]!)}L${fixed(x + nx)} ${fixed(y + ny)}L${fixed(x - nx)} ${fixed(y - ny)}Z`, fill: colours.point, "fill-opacity": fixed(0.2 * idle * paler(depth)) },
    });
  }
}

function ghosts(stage: Stage, colours: Palette, out: Shape[]): void {
  const { there, here } = stage;
  if (!there || !here) return;
  for (let t = 0; t < there.tokens; t++) {
    if (t === 0 && there.tokens > 1 && !stage.first) continue;
    placeAt(there, stage.lens, stage.time, t, A);
    if (!Number.isFinite(A[0]) || !Number.isFinite(A[1])) continue;
    if (there.tokens === here.tokens && stage.where(t, B)) {
      out.push({ tag: "line", attrs: { x1: fixed(A[0]!), y1: fixed(A[1]!), x2: fixed(B[0]!), y2: fixed(B[1]!), stroke: colours.ghost, "stroke-opacity": 0.28, "stroke-width": 1 } });
    }
    out.push({ tag: "circle", attrs: { cx: fixed(A[0]!), cy: fixed(A[1]!), r: fixed(stage.radius * 0.9), fill: "none", stroke: colours.ghost, "stroke-width": 1.4 } });
  }
}

function paths(stage: Stage, colours: Palette, out: Shape[]): void {
  const { here, front } = stage;
  if (!here || !front) return;
  for (const { token, style } of stage.paths) {
    const colour = style === 0 ? colours.chosen : colours.ink;
    const strength = style === 0 ? 1 : 0.7;
    const xs: number[] = [];
    const ys: number[] = [];
    for (let s = 0; s < here.stops; s++) {
      placeAt(here, stage.lens, s, token, A);
      xs.push(A[0]!);
      ys.push(A[1]!);
    }
    if (!xs.every(Number.isFinite) || !ys.every(Number.isFinite)) continue;
    const now = stage.time;
    for (let s = 0; s + 1 < here.stops; s++) {
      const share = Math.min(1, Math.max(0, now - s));
      const [mx, my] = [xs[s]! + (xs[s + 1]! - xs[s]!) * share, ys[s]! + (ys[s + 1]! - ys[s]!) * share];
      if (share > 0) {
        const age = now > 0 ? (s + share) / now : 1;
        out.push({
          tag: "line",
          attrs: { x1: fixed(xs[s]!), y1: fixed(ys[s]!), x2: fixed(mx), y2: fixed(my), stroke: colour, "stroke-width": fixed(PATH * (0.45 + 0.55 * age)), "stroke-linecap": "round", "stroke-opacity": fixed(strength * (0.22 + 0.68 * age)) },
        });
      }
      if (share < 1) {
        out.push({
          tag: "line",
          attrs: { x1: fixed(mx), y1: fixed(my), x2: fixed(xs[s + 1]!), y2: fixed(ys[s + 1]!), stroke: colour, "stroke-width": 1.2, "stroke-opacity": fixed(0.42 * strength), "stroke-dasharray": `${DOTS_ON} ${fixed(DOTS_PERIOD - DOTS_ON)}` },
        });
      }
    }
    for (let s = 0; s < here.stops; s++) {
      const apart = Math.min(s > 0 ? Math.hypot(xs[s]! - xs[s - 1]!, ys[s]! - ys[s - 1]!) : 99, s + 1 < here.stops ? Math.hypot(xs[s + 1]! - xs[s]!, ys[s + 1]! - ys[s]!) : 99);
      const r = Math.min(DOT, Math.max(0.7, 0.32 * apart));
      const past = s <= now + 1e-6;
      const opacity = fixed(past ? strength : 0.45 * strength);
      const [x, y] = [xs[s]!, ys[s]!];
      const shape = dotShape(front.info.stops[s]!.part);
      const solid = { fill: colour, "fill-opacity": opacity };
      if (shape === 0) out.push({ tag: "circle", attrs: { cx: fixed(x), cy: fixed(y), r: fixed(r), ...solid } });
      else if (shape === 1) out.push({ tag: "rect", attrs: { x: fixed(x - r * 0.9), y: fixed(y - r * 0.9), width: fixed(r * 1.8), height: fixed(r * 1.8), ...solid } });
      else if (shape === 2) out.push({ tag: "circle", attrs: { cx: fixed(x), cy: fixed(y), r: fixed(r + 0.6), fill: colours.background, stroke: colour, "stroke-width": 1.3, "stroke-opacity": opacity } });
      else out.push({ tag: "path", attrs: { d: `M${fixed(x)} ${fixed(y - r * 1.35)}L${fixed(x + r * 1.35)} ${fixed(y)}L${fixed(x)} ${fixed(y + r * 1.35)}L${fixed(x - r * 1.35)} ${fixed(y)}Z`, ...solid } });
    }
  }
}

const SHAPE = emptyArrow();

function arrows(stage: Stage, scene: Scene, prefix: string, out: Picture): void {
  const { front, ribbons } = stage;
  if (!front || ribbons.length === 0) return;
  const query = front.array("edge/query");
  const key = front.array("edge/key");
  const pull = front.array("edge/pull");
  const count = Math.min(SVG_ARROWS, ribbons.length / 2);
  const [edge, most] = [casing(count), scene.selection.largest];
  for (let i = ribbons.length / 2 - count; i < ribbons.length / 2; i++) {
    const e = ribbons[2 * i]!;
    if (!stage.where(key[e]!, A) || !stage.where(query[e]!, B)) continue;
    const share = most > 0 ? stage.size[e]! / most : 0;
    const rimFrom = stage.radius * bigger(A[2]!) + (key[e] === scene.token ? CLEAR : 0);
    const rimTo = stage.radius * bigger(B[2]!) + (query[e] === scene.token ? CLEAR : 0);
    arrowShape(A[0]!, A[1]!, B[0]!, B[1]!, rimFrom, rimTo, arrowWidth(share, stage.widest), ribbons[2 * i + 1]!, stage.grown, SHAPE);
    const colour = hex(pullColour(pull[e]!, scene.colours));
    const opacity = arrowOpacity(share, count) * stage.fade * paler((A[2]! + B[2]!) / 2);
    if (opacity <= 0.004) continue;
    const d = outline(SHAPE);
    if (edge > 0) out.arrows.push({ tag: "path", attrs: { d, fill: "none", stroke: scene.colours.background, "stroke-width": fixed(2 * edge), "stroke-linejoin": "round", "stroke-opacity": fixed(0.55 * stage.fade) } });
    if (count <= WITH_GRADIENT) {
      const id = `${prefix}a${i}`;
      out.defs.push({
        tag: "linearGradient",
        attrs: { id, gradientUnits: "userSpaceOnUse", x1: fixed(A[0]!), y1: fixed(A[1]!), x2: fixed(B[0]!), y2: fixed(B[1]!) },
        children: [
          { tag: "stop", attrs: { offset: 0.05, "stop-color": colour, "stop-opacity": fixed(opacity * FADE) } },
          { tag: "stop", attrs: { offset: 0.8, "stop-color": colour, "stop-opacity": fixed(opacity) } },
        ],
      });
      out.arrows.push({ tag: "path", attrs: { d, fill: `url(#${id})` } });
    } else out.arrows.push({ tag: "path", attrs: { d, fill: colour, "fill-opacity": fixed(opacity * 0.75) } });
  }
}

function rings(stage: Stage, scene: Scene, out: Shape[]): void {
  const { front } = stage;
  if (!front) return;
  const query = front.array("edge/query");
  const most = scene.selection.largest;
  const count = stage.ribbons.length / 2 + stage.rings.length / 2;
  for (let i = 0; i < stage.rings.length; i += 2) {
    const e = stage.rings[i]!;
    if (!stage.where(query[e]!, A)) continue;
    const share = most > 0 ? stage.size[e]! / most : 0;
    const width = arrowWidth(share, stage.widest) * 0.6;
    out.push({
      tag: "circle",
      attrs: {
        cx: fixed(A[0]!),
        cy: fixed(A[1]!),
        r: fixed(stage.radius * bigger(A[2]!) + RING_GAP + RING_STEP * stage.rings[i + 1]!),
        fill: "none",
        stroke: hex(pullColour(NaN, scene.colours)),
        "stroke-width": fixed(width),
        "stroke-opacity": fixed(arrowOpacity(share, count) * stage.fade * stage.grown),
      },
    });
  }
}

function points(stage: Stage, colours: Palette, behind: Shape[], front: Shape[]): void {
  const late: number[] = [];
  const draw = (t: number): void => {
    if (!stage.where(t, A)) return;
    const part = stage.parts[t]!;
    const out = part & IDLE ? behind : front;
    const [x, y] = [A[0]!, A[1]!];
    const chosen = (part & CHOSEN) > 0;
    const r = stage.radius * bigger(A[2]!) * (chosen ? 1.25 : part & IDLE ? idleSize(stage.parts.length) : 1);
    const colour = chosen ? colours.chosen : colours.point;
    const opacity = chosen ? 1 : fixed(paler(A[2]!) * (part & IDLE ? 0.5 : 1));
    if (part & FIRST && stage.parts.length > 1) {
      const k = r * 1.3;
      out.push({ tag: "path", attrs: { d: `M${fixed(x)} ${fixed(y - k)}L${fixed(x + k)} ${fixed(y)}L${fixed(x)} ${fixed(y + k)}L${fixed(x - k)} ${fixed(y)}Z`, fill: colours.background, stroke: colour, "stroke-width": 1.7, "stroke-linejoin": "round", "stroke-opacity": opacity } });
    } else {
      out.push({ tag: "circle", attrs: { cx: fixed(x), cy: fixed(y), r: fixed(r + (part & IDLE ? 0.6 : HALO)), fill: colours.background, "fill-opacity": 0.92 } });
      out.push({ tag: "circle", attrs: { cx: fixed(x), cy: fixed(y), r: fixed(r), fill: colour, "fill-opacity": opacity } });
    }
    const ring = (away: number, width: number, ink: string): void => {
      out.push({ tag: "circle", attrs: { cx: fixed(x), cy: fixed(y), r: fixed(r + away), fill: "none", stroke: ink, "stroke-width": width } });
    };
    if (chosen) ring(3.6, 1.8, colours.chosen);
    else if (part & PINNED) ring(3.2, 1.2, colours.ink);
    if (part & HOVERED) ring(6.4, 1.4, colours.ink);
  };
  for (let t = 0; t < stage.parts.length; t++) {
    if (stage.parts[t]! & HIDDEN) continue;
    if (stage.parts[t]! & (CHOSEN | PINNED | HOVERED)) late.push(t);
    else draw(t);
  }
  late.sort((a, b) => (stage.parts[a]! & CHOSEN) - (stage.parts[b]! & CHOSEN)).forEach(draw);
}

function labels(stage: Stage, scene: Scene, out: Shape[]): void {
  for (const label of scene.labels) {
    if (!stage.where(label.token, A)) continue;
    const side = label.side ?? "right";
    const [left, top, , height] = labelBox(A[0]!, A[1]!, 0, stage.radius + (label.strong ? CLEAR : 0), side);
    const parts: Shape[] = [{ tag: "tspan", attrs: {}, text: label.text }];
    if (label.word !== undefined) parts.push({ tag: "tspan", attrs: { "fill-opacity": fixed(label.wordOpacity ?? 1), "font-style": "italic", "font-weight": 400 }, text: ` → ${label.word}` });
    out.push({
      tag: "text",
      attrs: {
        x: fixed(left),
        y: fixed(top + height / 2 + LABEL_SIZE * 0.35),
        "text-anchor": side === "right" ? "start" : side === "left" ? "end" : "middle",
        "font-size": LABEL_SIZE,
        "font-weight": label.strong ? 650 : 450,
        "font-family": FONT,
        fill: scene.colours.ink,
        opacity: fixed(label.opacity),
        stroke: scene.colours.background,
        "stroke-width": 3.2,
        "stroke-linejoin": "round",
        "paint-order": "stroke",
      },
      children: parts,
    });
  }
}

function marks(stage: Stage, scene: Scene, out: Shape[]): void {
  for (const axis of compass(stage.lens, scene.view, scene.axes)) {
    const line = { stroke: scene.colours.ink, "stroke-width": 1.3, "stroke-opacity": 0.6, "stroke-linecap": "round" };
    out.push({ tag: "path", attrs: { d: strokeOf(axis), fill: "none", ...line } });
    out.push({ tag: "text", attrs: { x: fixed(axis.tx), y: fixed(axis.ty + 3.6), "text-anchor": "middle", "font-size": 10.5, "font-family": FONT, fill: scene.colours.ink, "fill-opacity": 0.75, stroke: scene.colours.background, "stroke-width": 3.2, "stroke-linejoin": "round", "paint-order": "stroke" }, text: axis.text });
  }
}

// ---- into a document

interface Known {
  element: SVGElement;
  tag: string;
  attrs: Record<string, string | number>;
  text: string | undefined;
  children: Known[];
}

const SPACE = "http://www.w3.org/2000/svg";
let instances = 0;

export class SvgRenderer implements Renderer {
  readonly kind = "svg";
  lastFrameMs = 0;
  readonly element: SVGSVGElement;
  private readonly stage = new Stage();
  private readonly groups = new Map<Layer, { element: SVGElement; known: Known[] }>();
  private readonly ground: SVGElement;
  private readonly prefix = `sociogram${++instances}-`;

  constructor(host: HTMLElement) {
    const page = host.ownerDocument;
    this.element = page.createElementNS(SPACE, "svg");
    this.element.setAttribute("aria-hidden", "true");
    this.element.style.position = "absolute";
    this.element.style.inset = "0";
    this.element.style.display = "block";
    this.ground = page.createElementNS(SPACE, "rect");
    this.element.append(this.ground);
    for (const layer of LAYERS) {
      const element = page.createElementNS(SPACE, layer === "defs" ? "defs" : "g");
      this.element.append(element);
      this.groups.set(layer, { element, known: [] });
    }
    host.append(this.element);
  }

  setRun(front: Run, other: Run | null): void {
    this.stage.setRun(front, other);
  }

  resize(width: number, height: number, ratio: number): void {
    this.stage.resize(width, height, ratio);
    for (const target of [this.element, this.ground]) {
      target.setAttribute("width", String(this.stage.width));
      target.setAttribute("height", String(this.stage.height));
    }
    this.element.setAttribute("viewBox", `0 0 ${this.stage.width} ${this.stage.height}`);
  }

  draw(scene: Scene): void {
    const began = performance.now();
    if (!this.stage.update(scene)) return;
    this.ground.setAttribute("fill", scene.colours.background);
    const all = picture(this.stage, scene, this.prefix);
    for (const layer of LAYERS) {
      const group = this.groups.get(layer)!;
      sync(group.element, group.known, all[layer]);
    }
    this.lastFrameMs = performance.now() - began;
  }

  pick(x: number, y: number, reach: number): number | null {
    return this.stage.pick(x, y, reach);
  }

  place(token: number): [number, number] | null {
    return this.stage.place(token);
  }

  dispose(): void {
    this.element.remove();
    this.groups.forEach((group) => (group.known.length = 0));
  }
}

function sync(parent: SVGElement, known: Known[], shapes: readonly Shape[]): void {
  for (let i = 0; i < shapes.length; i++) {
    const shape = shapes[i]!;
    let have = known[i];
    if (!have || have.tag !== shape.tag) {
      const element = parent.ownerDocument.createElementNS(SPACE, shape.tag) as SVGElement;
      if (have) parent.replaceChild(element, have.element);
      else parent.append(element);
      known[i] = have = { element, tag: shape.tag, attrs: {}, text: undefined, children: [] };
    }
    for (const name in shape.attrs) if (have.attrs[name] !== shape.attrs[name]) have.element.setAttribute(name, String(shape.attrs[name]));
    for (const name in have.attrs) if (!(name in shape.attrs)) have.element.removeAttribute(name);
    have.attrs = shape.attrs;
    if (shape.children) sync(have.element, have.children, shape.children);
    else if (shape.text !== have.text) {
      have.element.textContent = shape.text ?? "";
      have.text = shape.text;
    }
  }
  for (let i = known.length - 1; i >= shapes.length; i--) known[i]!.element.remove();
  known.length = shapes.length;
}

// ---- as a file

function escaped(text: string): string {
  return text
    .replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, "")
    .replace(/[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g, "\ufffd")
    .replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
}

function written(shape: Shape): string {
  const attrs = Object.entries(shape.attrs).map(([name, value]) => ` ${name}="${escaped(String(value))}"`).join("");
  const inside = (shape.text !== undefined ? escaped(shape.text) : "") + (shape.children ?? []).map(written).join("");
  return inside ? `<${shape.tag}${attrs}>${inside}</${shape.tag}>` : `<${shape.tag}${attrs}/>`;
}

/** A scene as the text of a standalone SVG file. */
export function toSvgText(front: Run, other: Run | null, scene: Scene, width: number, height: number, title = ""): string {
  const stage = new Stage();
  stage.setRun(front, other);
  stage.resize(width, height, 1);
  stage.update(scene);
  const all = picture(stage, scene, "a");
  const body = LAYERS.map((layer) => {
    const inside = all[layer].map(written).join("\n");
    return inside ? (layer === "defs" ? `<defs>\n${inside}\n</defs>` : `<g>\n${inside}\n</g>`) : "";
  }).filter(Boolean);
  return [
    `<svg xmlns="${SPACE}" width="${fixed(width)}" height="${fixed(height)}" viewBox="0 0 ${fixed(width)} ${fixed(height)}" role="img">`,
    ...(title ? [`<title>${escaped(title)}</title>`] : []),
    written({ tag: "rect", attrs: { width: "100%", height: "100%", fill: scene.colours.background } }),
    ...body,
    "</svg>\n",
  ].join("\n");
}
