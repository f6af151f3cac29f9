/** The picture in WebGL2: places of all stops and all edges stay on the card; a frame sends a handful of numbers. */

import type { Palette, Renderer, Run, Scene } from "../types";
import { casing, rgb } from "./look";
import { Overlay } from "./overlay";
import { ARROW, DOTS, FRAME_FLOATS, GHOST, LINK, PATHS, POINT, RING, ROW, WAKE } from "./shaders";
import { CHOSEN, dotShape, HIDDEN, HOVERED, IDLE, PINNED, Stage } from "./stage";

interface Program {
  program: WebGLProgram;
  skip: WebGLUniformLocation | null;
}

/** A buffer of numbers per instance and the vertex array that reads it. */
interface Instances {
  buffer: WebGLBuffer;
  array: WebGLVertexArrayObject;
  count: number;
}

interface Card {
  arrow: Program;
  ring: Program;
  point: Program;
  wake: Program;
  ghost: Program;
  link: Program;
  paths: Program;
  dots: Program;
  frame: WebGLBuffer;
  places: WebGLTexture;
  edges: WebGLTexture;
  sizes: WebGLTexture;
  ribbons: Instances;
  rings: Instances;
  idle: Instances; // points behind the arrows
  points: Instances;
  steps: Instances;
  empty: WebGLVertexArrayObject;
}

const STALE = -1;
const SEGMENTS = 20;
const FEW = 9; // segments of each arrow where they are many
const CROWD = 600;

export class WebGLRenderer implements Renderer {
  readonly kind = "webgl2";
  lastFrameMs = 0;
  /** Told when the browser takes the picture's memory away, and when it gives it back. */
  onLost: ((lost: boolean) => void) | null = null;
  readonly canvas: HTMLCanvasElement;
  private readonly gl: WebGL2RenderingContext;
  private readonly stage = new Stage();
  private readonly overlay: Overlay;
  private card: Card | null = null;
  private readonly frame = new Float32Array(FRAME_FLOATS);
  private scene: Scene | null = null;
  private colours: Palette | null = null;
  // what the card holds, as the stage counts it
  private places = STALE;
  private chosen = STALE;
  private routes = STALE;
  private roles = STALE;
  private meaning = "";
  private edgesOf: Run | null = null;
  private disposed = false;

  /** Throws where the browser gives no WebGL2. */
  constructor(host: HTMLElement) {
    this.canvas = host.ownerDocument.createElement("canvas");
    this.canvas.setAttribute("aria-hidden", "true");
    this.canvas.style.position = "absolute";
    this.canvas.style.inset = "0";
    const gl = this.canvas.getContext("webgl2", { alpha: false, antialias: false, depth: false, stencil: false, premultipliedAlpha: true });
    if (!gl) throw new Error("This browser gives no WebGL2");
    this.gl = gl;
    this.card = this.build();
    host.append(this.canvas);
    this.overlay = new Overlay(host);
    this.canvas.addEventListener("webglcontextlost", this.lost);
    this.canvas.addEventListener("webglcontextrestored", this.restored);
  }

  setRun(front: Run, other: Run | null): void {
    this.stage.setRun(front, other);
    this.edgesOf = null;
  }

  resize(width: number, height: number, ratio: number): void {
    this.stage.resize(width, height, ratio);
    const { stage, canvas } = this;
    canvas.width = Math.max(1, Math.round(stage.width * stage.ratio));
    canvas.height = Math.max(1, Math.round(stage.height * stage.ratio));
    canvas.style.width = `${stage.width}px`;
    canvas.style.height = `${stage.height}px`;
    this.overlay.resize(stage.width, stage.height, stage.ratio);
  }

  draw(scene: Scene): void {
    const began = performance.now();
    this.scene = scene;
    const { stage, card, gl } = this;
    if (!stage.update(scene)) return;
    if (card && !gl.isContextLost()) {
      this.upload(card);
      this.writeFrame(scene);
      gl.bindBuffer(gl.UNIFORM_BUFFER, card.frame);
      gl.bufferSubData(gl.UNIFORM_BUFFER, 0, this.frame);
      gl.viewport(0, 0, this.canvas.width, this.canvas.height);
      gl.clear(gl.COLOR_BUFFER_BIT);
      if (scene.wakes ?? true) {
        this.crowd(card.wake, card.idle);
        this.crowd(card.wake, card.points);
      }
      if (scene.ghosts && stage.there) this.drawGhosts(card, stage.there.tokens);
      this.crowd(card.point, card.idle);
      this.quads(card.paths, card.steps);
      this.quads(card.dots, card.steps);
      if (card.ribbons.count > 0) {
        gl.useProgram(card.arrow.program);
        gl.bindVertexArray(card.ribbons.array);
        gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 2 * (this.segments() + 3), card.ribbons.count);
      }
      this.quads(card.ring, card.rings);
      this.crowd(card.point, card.points);
    }
    this.overlay.draw(stage, scene);
    this.lastFrameMs = performance.now() - began;
  }

  pick(x: number, y: number, reach: number): number | null {
    return this.stage.pick(x, y, reach);
  }

  place(token: number): [number, number] | null {
    return this.stage.place(token);
  }

  /** The picture with its texts as one canvas, to save or copy. */
  snapshot(): HTMLCanvasElement {
    if (this.scene) this.draw(this.scene); // what was drawn before may be gone by now
    const out = this.canvas.ownerDocument.createElement("canvas");
    out.width = this.canvas.width;
    out.height = this.canvas.height;
    const context = out.getContext("2d")!;
    context.drawImage(this.canvas, 0, 0);
    context.drawImage(this.overlay.canvas, 0, 0);
    return out;
  }

  dispose(): void {
    if (this.disposed) return;
    this.disposed = true;
    this.canvas.removeEventListener("webglcontextlost", this.lost);
    this.canvas.removeEventListener("webglcontextrestored", this.restored);
    this.card = null;
    this.scene = null;
    this.gl.getExtension("WEBGL_lose_context")?.loseContext(); // a page has 16 of them
    this.canvas.remove();
    this.overlay.dispose();
  }

  private readonly lost = (event: Event): void => {
    event.preventDefault(); // asks for it back
    this.card = null;
    this.onLost?.(true);
  };

  private readonly restored = (): void => {
    if (this.disposed) return;
    this.card = this.build();
    if (this.scene) this.draw(this.scene);
    this.onLost?.(false);
  };

  private segments(): number {
    return this.card!.ribbons.count > CROWD ? FEW : SEGMENTS;
  }

  private quads(program: Program, instances: Instances): void {
    if (instances.count === 0) return;
    const { gl } = this;
    gl.useProgram(program.program);
    gl.bindVertexArray(instances.array);
    gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, instances.count);
  }

  /** Points may be thousands, and without a graphics card an instance costs more than what it draws: each corner is an item. */
  private crowd(program: Program, corners: Instances): void {
    if (corners.count === 0) return;
    const { gl } = this;
    gl.useProgram(program.program);
    gl.bindVertexArray(corners.array);
    gl.drawArrays(gl.TRIANGLES, 0, corners.count);
  }

  private drawGhosts(card: Card, tokens: number): void {
    const { gl, stage } = this;
    const skip = tokens > 1 && !stage.first ? 1 : 0;
    gl.bindVertexArray(card.empty);
    for (const program of [card.link, card.ghost]) {
      if (program === card.link && stage.here!.tokens !== tokens) continue;
      gl.useProgram(program.program);
      gl.uniform1i(program.skip, skip);
      gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, tokens - skip);
    }
  }

  /** Sends to the card what it does not have yet. */
  private upload(card: Card): void {
    const { gl, stage } = this;
    const run = stage.front!;
    if (this.places !== stage.places) {
      const [here, there] = [stage.here!.data, stage.there?.data];
      this.table(card.places, 0, gl.RGBA32F, gl.RGBA, 4, (here.length + (there?.length ?? 0)) / 4, (out) => {
        out.set(here);
        if (there) out.set(there, here.length);
      });
      this.places = stage.places;
    }
    if (this.edgesOf !== run) {
      const [query, key, pull, head] = ["query", "key", "pull", "head"].map((column) => run.array(`edge/${column}`)) as [Float32Array, Float32Array, Float32Array, Float32Array];
      this.table(card.edges, 1, gl.RGBA32F, gl.RGBA, 4, query.length, (out) => {
        for (let e = 0; e < query.length; e++) {
          out[4 * e] = query[e]!;
          out[4 * e + 1] = key[e]!;
          out[4 * e + 2] = pull[e]! || 0; // what does not exist pulls neither way
          out[4 * e + 3] = head[e]!;
        }
      });
      this.edgesOf = run;
      this.meaning = "";
    }
    if (this.meaning !== stage.meaning) {
      this.table(card.sizes, 2, gl.R32F, gl.RED, 1, stage.size.length, (out) => out.set(stage.size));
      this.meaning = stage.meaning;
    }
    if (this.chosen !== stage.chosen) {
      this.fill(card.ribbons, stage.ribbons, 2);
      this.fill(card.rings, stage.rings, 2);
      this.chosen = stage.chosen;
    }
    if (this.roles !== stage.roles) {
      const [idle, active] = pointItems(stage.parts);
      this.fill(card.idle, idle, 2);
      this.fill(card.points, active, 2);
      this.roles = stage.roles;
    }
    if (this.routes !== stage.routes) {
      this.fill(card.steps, stepItems(stage), 4);
      this.routes = stage.routes;
    }
  }

  private table(texture: WebGLTexture, unit: number, inside: number, format: number, channels: number, count: number, write: (out: Float32Array) => void): void {
    const { gl } = this;
    const rows = Math.max(1, Math.ceil(count / ROW));
    const most = gl.getParameter(gl.MAX_TEXTURE_SIZE) as number;
    if (rows > most) throw new Error(`The picture needs a table of ${rows} rows; this graphics card has ${most}.`);
    const out = new Float32Array(ROW * rows * channels);
    write(out);
    gl.activeTexture(gl.TEXTURE0 + unit);
    gl.bindTexture(gl.TEXTURE_2D, texture);
    gl.texImage2D(gl.TEXTURE_2D, 0, inside, ROW, rows, 0, format, gl.FLOAT, out);
  }

  private fill(instances: Instances, items: Uint32Array, each: number): void {
    const { gl } = this;
    gl.bindBuffer(gl.ARRAY_BUFFER, instances.buffer);
    gl.bufferData(gl.ARRAY_BUFFER, items, gl.DYNAMIC_DRAW);
    instances.count = items.length / each;
  }

  private writeFrame(scene: Scene): void {
    const { frame, stage } = this;
    const { rows } = stage.lens;
    for (let i = 0; i < 12; i++) frame[i] = rows[i]!;
    const s = Math.floor(stage.time);
    frame[12] = s;
    frame[13] = stage.time - s;
    frame[14] = stage.grown;
    frame[15] = stage.fade;
    frame[16] = stage.width;
    frame[17] = stage.height;
    frame[18] = stage.ratio;
    frame[19] = stage.parts.length;
    frame[20] = stage.here!.data.length / 4;
    frame[21] = stage.there?.tokens ?? 0;
    frame[22] = stage.there?.stops ?? 0;
    const arrows = scene.selection.edges.length;
    frame[24] = stage.radius;
    frame[25] = stage.widest;
    frame[26] = casing(arrows);
    frame[27] = arrows;
    frame[28] = scene.selection.largest;
    frame[29] = stage.time;
    frame[30] = stage.here!.stops;
    frame[31] = Math.ceil(stage.time - 1e-6) - 1;
    frame[32] = this.segments();
    frame[33] = scene.token ?? -1;
    if (scene.colours !== this.colours) {
      this.colours = scene.colours;
      const { background, ink, point, chosen, ghost, attract, neutral, repel } = scene.colours;
      [background, ink, point, chosen, ghost, attract, neutral, repel].forEach((text, i) => frame.set(rgb(text), 36 + 4 * i));
    }
    this.gl.clearColor(frame[36]!, frame[37]!, frame[38]!, 1);
  }

  // ---- building, and again after the context was lost

  private build(): Card {
    const { gl } = this;
    const make = <T>(made: T | null): T => {
      if (made === null) throw new Error("This browser's WebGL2 ran out of memory");
      return made;
    };
    const frame = make(gl.createBuffer());
    gl.bindBuffer(gl.UNIFORM_BUFFER, frame);
    gl.bufferData(gl.UNIFORM_BUFFER, this.frame.byteLength, gl.DYNAMIC_DRAW);
    gl.bindBufferBase(gl.UNIFORM_BUFFER, 0, frame);
    const texture = (unit: number): WebGLTexture => {
      const made = make(gl.createTexture());
      gl.activeTexture(gl.TEXTURE0 + unit);
      gl.bindTexture(gl.TEXTURE_2D, made);
      for (const name of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, name, gl.NEAREST);
      for (const name of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T]) gl.texParameteri(gl.TEXTURE_2D, name, gl.CLAMP_TO_EDGE);
      return made;
    };
    const instances = (each: number, divisor = 1): Instances => {
      const [buffer, array] = [make(gl.createBuffer()), make(gl.createVertexArray())];
      gl.bindVertexArray(array);
      gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
      gl.enableVertexAttribArray(0);
      gl.vertexAttribIPointer(0, each, gl.UNSIGNED_INT, 0, 0);
      gl.vertexAttribDivisor(0, divisor);
      gl.bindVertexArray(null);
      return { buffer, array, count: 0 };
    };
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA); // colours come multiplied by their opacity
    gl.disable(gl.DEPTH_TEST);
    this.places = this.chosen = this.routes = this.roles = STALE;
    this.edgesOf = null;
    this.colours = null;
    return {
      arrow: this.program(ARROW),
      ring: this.program(RING),
      point: this.program(POINT),
      wake: this.program(WAKE),
      ghost: this.program(GHOST),
      link: this.program(LINK),
      paths: this.program(PATHS),
      dots: this.program(DOTS),
      frame,
      places: texture(0),
      edges: texture(1),
      sizes: texture(2),
      ribbons: instances(2),
      rings: instances(2),
      idle: instances(2, 0),
      points: instances(2, 0),
      steps: instances(4),
      empty: make(gl.createVertexArray()),
    };
  }

  private program([vertex, fragment]: [string, string]): Program {
    const { gl } = this;
    const program = gl.createProgram();
    for (const [kind, source] of [
      [gl.VERTEX_SHADER, vertex],
      [gl.FRAGMENT_SHADER, fragment],
    ] as const) {
      const shader = gl.createShader(kind);
      if (!shader) throw new Error("This browser's WebGL2 compiles no shaders");
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
      if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS) && !gl.isContextLost()) throw new Error(`This browser's WebGL2 refuses a shader: ${gl.getShaderInfoLog(shader)}`);
      gl.deleteShader(shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS) && !gl.isContextLost()) throw new Error(`This browser's WebGL2 refuses a program: ${gl.getProgramInfoLog(program)}`);
    gl.useProgram(program);
    const block = gl.getUniformBlockIndex(program, "Frame");
    if (block !== gl.INVALID_INDEX) gl.uniformBlockBinding(program, block, 0);
    ["places", "edges", "sizes"].forEach((name, unit) => gl.uniform1i(gl.getUniformLocation(program, name), unit));
    return { program, skip: gl.getUniformLocation(program, "skip") };
  }
}

/** The six corners of two triangles, in the place where the shaders look for them. */
const CORNERS = [0, 1, 2, 2, 1, 3].map((corner) => (corner + 1) << 8);

/** Tokens in drawing order: idle ones, which lie behind the arrows, and the others, those looked at last so that they lie on top. */
function pointItems(parts: Uint8Array): [Uint32Array, Uint32Array] {
  const idle: number[] = [];
  const early: number[] = [];
  const late: number[] = [];
  parts.forEach((part, token) => {
    if (part & HIDDEN) return;
    if (part & IDLE) idle.push(token);
    else if (part & CHOSEN) late.push(token);
    else if (part & (PINNED | HOVERED)) late.unshift(token);
    else early.push(token);
  });
  const corners = (tokens: number[]): Uint32Array => {
    const out = new Uint32Array(12 * tokens.length);
    let at = 0;
    for (const token of tokens) {
      for (const corner of CORNERS) {
        out[at++] = token;
        out[at++] = parts[token]! | corner;
      }
    }
    return out;
  };
  return [corners(idle), corners([...early, ...late])];
}

function stepItems(stage: Stage): Uint32Array {
  const { stops } = stage.front!.info;
  const out: number[] = [];
  for (const { token, style } of stage.paths) stops.forEach((stop, s) => out.push(token, style, s, dotShape(stop.part)));
  return Uint32Array.from(out);
}
