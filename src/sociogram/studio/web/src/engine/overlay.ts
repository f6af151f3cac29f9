/** Texts over a WebGL picture: a 2D canvas on which labels, painted once each, are put down at their points. */

import type { Label, Palette, Scene } from "../types";
import { compass, strokeOf } from "./compass";
import { labelBox } from "./labels";
import { CLEAR, FONT, LABEL_GAP, LABEL_SIZE } from "./look";
import type { Stage } from "./stage";

interface Sprite {
  image: HTMLCanvasElement;
  width: number; // of the text, CSS pixels
}

const PAD = 4;
const MOST = 600;

export class Overlay {
  readonly canvas: HTMLCanvasElement;
  private readonly context: CanvasRenderingContext2D;
  private readonly sprites = new Map<string, Sprite>();
  private labels: readonly Label[] = [];
  private images: Sprite[] = [];
  private colours: Palette | null = null;
  private ratio = 1;
  private mark: HTMLCanvasElement | null = null;
  private readonly marked = new Float64Array(9);
  private markedView: unknown = null;
  private readonly spot = new Float64Array(3);

  constructor(host: HTMLElement) {
    this.canvas = host.ownerDocument.createElement("canvas");
    this.canvas.setAttribute("aria-hidden", "true");
    this.canvas.style.position = "absolute";
    this.canvas.style.inset = "0";
    this.canvas.style.pointerEvents = "none";
    host.append(this.canvas);
    this.context = this.canvas.getContext("2d")!;
  }

  resize(width: number, height: number, ratio: number): void {
    this.canvas.width = Math.max(1, Math.round(width * ratio));
    this.canvas.height = Math.max(1, Math.round(height * ratio));
    this.canvas.style.width = `${width}px`;
    this.canvas.style.height = `${height}px`;
    if (ratio !== this.ratio) this.forget();
    this.ratio = ratio;
  }

  draw(stage: Stage, scene: Scene): void {
    if (scene.colours !== this.colours) {
      this.forget();
      this.colours = scene.colours;
    }
    if (scene.labels !== this.labels) this.take(scene.labels, scene.colours);
    const { context, ratio, spot } = this;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    if (scene.compass ?? true) {
      this.drawMark(stage, scene);
      context.globalAlpha = 1;
      if (this.mark) context.drawImage(this.mark, 0, this.canvas.height - this.mark.height);
    }
    for (let i = this.labels.length - 1; i >= 0; i--) {
      const label = this.labels[i]!;
      if (!stage.where(label.token, spot)) continue;
      const sprite = this.images[i]!;
      const off = stage.radius + LABEL_GAP + (label.strong ? CLEAR : 0);
      const side = label.side ?? "right";
      const x = side === "right" ? spot[0]! + off : side === "left" ? spot[0]! - off - sprite.width : spot[0]! - sprite.width / 2;
      const y = side === "above" ? ABOVE : side === "below" ? BELOW : MIDDLE;
      context.globalAlpha = label.opacity;
      context.drawImage(sprite.image, Math.round((x - PAD) * ratio), Math.round((spot[1]! + y - PAD + (side === "above" ? -off : side === "below" ? off : 0)) * ratio));
    }
  }

  dispose(): void {
    this.canvas.remove();
    this.forget();
  }

  private forget(): void {
    this.sprites.clear();
    this.labels = [];
    this.images = [];
    this.mark = null;
  }

  private take(labels: readonly Label[], colours: Palette): void {
    if (this.sprites.size > MOST) this.sprites.clear();
    this.labels = labels;
    this.images = labels.map((label) => {
      const word = label.word === undefined ? "" : ` → ${label.word}`;
      const key = `${label.strong ? 1 : 0}${(label.wordOpacity ?? 1).toFixed(2)}\n${label.text}\n${word}`;
      let sprite = this.sprites.get(key);
      if (!sprite) this.sprites.set(key, (sprite = this.paint(label, word, colours)));
      return sprite;
    });
  }

  private paint(label: Label, word: string, colours: Palette): Sprite {
    const { ratio } = this;
    const image = this.canvas.ownerDocument.createElement("canvas");
    const c = image.getContext("2d")!;
    const font = `${label.strong ? 600 : 400} ${LABEL_SIZE}px ${FONT}`;
    const slanted = `italic 400 ${LABEL_SIZE}px ${FONT}`;
    c.font = font;
    const first = c.measureText(label.text).width;
    c.font = slanted;
    const width = first + (word ? c.measureText(word).width : 0);
    image.width = Math.ceil((width + 2 * PAD) * ratio);
    image.height = Math.ceil((HIGH + 2 * PAD) * ratio);
    c.scale(ratio, ratio);
    c.textBaseline = "alphabetic";
    c.lineJoin = "round";
    c.lineWidth = 3.2;
    c.strokeStyle = colours.background;
    c.fillStyle = colours.ink;
    const y = PAD + HIGH / 2 + LABEL_SIZE * 0.35;
    for (const [text, x, face, alpha] of [
      [label.text, PAD, font, 1],
      [word, PAD + first, slanted, label.wordOpacity ?? 1],
    ] as const) {
      if (!text) continue;
      c.font = face;
      c.globalAlpha = 0.9;
      c.strokeText(text, x, y);
      c.globalAlpha = alpha;
      c.fillText(text, x, y);
    }
    return { image, width };
  }

  /** The compass is painted anew only when the camera, the scale, the components or the colours change. */
  private drawMark(stage: Stage, scene: Scene): void {
    const { rows, scale } = stage.lens;
    let same = this.mark !== null && this.markedView === scene.view && this.marked[8] === stage.places;
    for (let i = 0; i < 8; i++) {
      const value = i === 3 ? scale : i === 7 ? stage.height : Math.round((rows[i]! / scale) * 1e4);
      if (this.marked[i] !== value) same = false;
      this.marked[i] = value;
    }
    this.marked[8] = stage.places;
    if (same) return;
    this.markedView = scene.view;
    const high = 130;
    const image = this.canvas.ownerDocument.createElement("canvas");
    image.width = Math.ceil(160 * this.ratio);
    image.height = Math.ceil(high * this.ratio);
    const c = image.getContext("2d")!;
    c.scale(this.ratio, this.ratio);
    c.translate(0, high - stage.height);
    c.lineCap = c.lineJoin = "round";
    c.textAlign = "center";
    c.strokeStyle = c.fillStyle = scene.colours.ink;
    c.font = `10.5px ${FONT}`;
    c.lineWidth = 1.3;
    for (const axis of compass(stage.lens, scene.view, scene.axes)) {
      c.globalAlpha = 0.6;
      c.stroke(new Path2D(strokeOf(axis)));
      c.strokeStyle = scene.colours.background;
      c.lineWidth = 3.2;
      c.globalAlpha = 0.9;
      c.strokeText(axis.text, axis.tx, axis.ty + 3.6);
      c.strokeStyle = scene.colours.ink;
      c.lineWidth = 1.3;
      c.globalAlpha = 0.75;
      c.fillText(axis.text, axis.tx, axis.ty + 3.6);
    }
    this.mark = image;
  }
}

const HIGH = LABEL_SIZE + 4;
const MIDDLE = labelBox(0, 0, 0, 0, "right")[1];
const ABOVE = -HIGH + 3;
const BELOW = -3;
