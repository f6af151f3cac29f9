/** The binary frame (docs/frame.md): base64 or bytes -> gunzip -> header and typed arrays. */

import type { ArrayEntry, Frame, Header, Numbers, Run } from "../types";

export const VERSION = 1;
const MAGIC = "SGF";
const WIDTH: Record<ArrayEntry["dtype"], number> = { f4: 4, f2: 2, u1: 1, u2: 2, u4: 4 };

/** Reads a frame as written by Python. Every failure is an Error that says what is wrong with the data. */
export async function decodeFrame(data: string | Uint8Array): Promise<Frame> {
  return readFrame(await gunzip(typeof data === "string" ? fromBase64(data) : data));
}

/** The same from bytes that are already unpacked. */
export function readFrame(bytes: Uint8Array): Frame {
  if (new Uint8Array(new Uint16Array([1]).buffer)[0] !== 1) {
    throw new Error("This machine stores numbers big-endian; frames are read on little-endian machines only.");
  }
  if (bytes.length < 8) throw new Error(`The frame is cut short: ${bytes.length} bytes, not even a beginning.`);
  const magic = String.fromCharCode(...bytes.subarray(0, 4));
  if (!magic.startsWith(MAGIC)) throw new Error("This is no sociogram frame: it does not begin with SGF.");
  if (magic !== MAGIC + VERSION) {
    throw new Error(`This frame has version ${printed(magic[3])}; this page reads version ${VERSION}. Export it again with the same sociogram.`);
  }
  const length = new DataView(bytes.buffer, bytes.byteOffset, 8).getUint32(4, true);
  if (8 + length > bytes.length) {
    throw new Error(`The frame is cut short: a header of ${length} bytes is announced, ${bytes.length - 8} bytes are there.`);
  }
  let parsed: unknown;
  try {
    parsed = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(8, 8 + length)));
  } catch (cause) {
    throw new Error(`The frame's header cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`);
  }
  const header = checkedHeader(parsed);
  const start = 8 + length;
  return frameOf(header, (name) => view(bytes, start, name, header.arrays[name] as ArrayEntry));
}

/** A frame from its header and a way to get each array by its full name. */
export function frameOf(header: Header, get: (name: string) => Numbers): Frame {
  const known = new Map<string, Numbers>();
  const runs = header.runs.map((info, index): Run => {
    const run: Run = {
      info,
      has: (name) => Object.hasOwn(header.arrays, `${index}/${name}`),
      array(name) {
        const full = `${index}/${name}`;
        let found = known.get(full);
        if (!found) {
          if (!run.has(name)) throw new Error(`The frame has no array ${name} for ${info.name}.`);
          known.set(full, (found = get(full)));
        }
        return found;
      },
    };
    return run;
  });
  for (const run of runs) checkRun(run, header);
  return { header, runs };
}

// ---- bytes

function fromBase64(text: string): Uint8Array {
  let raw: string;
  try {
    raw = atob(text.trim());
  } catch {
    throw new Error("The frame in this page is not base64: the file was changed or cut short.");
  }
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return bytes;
}

async function gunzip(bytes: Uint8Array): Promise<Uint8Array> {
  if (bytes.length < 2 || bytes[0] !== 0x1f || bytes[1] !== 0x8b) throw new Error("The frame is not compressed with gzip: the data was changed or cut short.");
  if (typeof DecompressionStream === "undefined") {
    throw new Error("This browser cannot unpack gzip (no DecompressionStream). Chrome 80, Firefox 113, Safari 16.4 or newer can.");
  }
  const stream = new ReadableStream<Uint8Array<ArrayBuffer>>({
    start(controller) {
      controller.enqueue(bytes as Uint8Array<ArrayBuffer>);
      controller.close();
    },
  }).pipeThrough(new DecompressionStream("gzip"));
  const parts: Uint8Array[] = [];
  let length = 0;
  try {
    const reader = stream.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      parts.push(value);
      length += value.length;
    }
  } catch (cause) {
    throw new Error(`The frame cannot be unpacked; the data was changed or cut short (${cause instanceof Error ? cause.message : String(cause)}).`);
  }
  const out = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

function view(bytes: Uint8Array, start: number, name: string, entry: ArrayEntry): Numbers {
  const count = entry.shape.reduce((product, n) => product * n, 1);
  const from = start + entry.offset;
  const size = count * WIDTH[entry.dtype];
  if (from + size > bytes.length) throw new Error(`The frame is cut short: ${name} needs ${size} bytes at ${entry.offset}, and the data ends before.`);
  let buffer = bytes.buffer as ArrayBuffer;
  let offset = bytes.byteOffset + from;
  if (offset % WIDTH[entry.dtype] !== 0) {
    buffer = bytes.slice(from, from + size).buffer as ArrayBuffer;
    offset = 0;
  }
  switch (entry.dtype) {
    case "f4":
      return new Float32Array(buffer, offset, count);
    case "f2":
      return widen(new Uint16Array(buffer, offset, count));
    case "u1":
      return new Uint8Array(buffer, offset, count);
    case "u2":
      return new Uint16Array(buffer, offset, count);
    case "u4":
      return new Uint32Array(buffer, offset, count);
  }
}

let halves: Float32Array | null = null;

/** All 65,536 half floats as float32. */
function halfTable(): Float32Array {
  const bits = new Uint32Array(65536);
  const table = new Float32Array(bits.buffer);
  for (let h = 0; h < 65536; h++) {
    const sign = (h & 0x8000) << 16;
    const exponent = (h >> 10) & 31;
    const fraction = h & 1023;
    if (exponent === 0) {
      table[h] = (sign ? -1 : 1) * fraction * 2 ** -24; // zero and the subnormals
    } else {
      bits[h] = sign | ((exponent === 31 ? 255 : exponent + 112) << 23) | (fraction << 13);
    }
  }
  return table;
}

export function widen(half: Uint16Array): Float32Array {
  const table = (halves ??= halfTable());
  const out = new Float32Array(half.length);
  for (let i = 0; i < half.length; i++) out[i] = table[half[i] as number] as number;
  return out;
}

// ---- structure

type Json = Record<string, unknown>;

function printed(text: unknown): string {
  return JSON.stringify(text) ?? "nothing";
}

function wrong(where: string, wanted: string, got: unknown): Error {
  const kind = got === null ? "null" : Array.isArray(got) ? "a list" : typeof got;
  const shown = typeof got === "object" || got === undefined ? kind : printed(got).slice(0, 40);
  return new Error(`The frame's header is wrong at ${where}: ${wanted} wanted, ${shown} found.`);
}

function object(value: unknown, where: string): Json {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw wrong(where, "an object", value);
  return value as Json;
}

function list(value: unknown, where: string, item: (value: unknown, where: string) => unknown): unknown[] {
  if (!Array.isArray(value)) throw wrong(where, "a list", value);
  value.forEach((one, index) => item(one, `${where}[${index}]`));
  return value;
}

function text(value: unknown, where: string): string {
  if (typeof value !== "string") throw wrong(where, "a text", value);
  return value;
}

function number(value: unknown, where: string): number {
  if (typeof value !== "number" || !Number.isFinite(value)) throw wrong(where, "a number", value);
  return value;
}

function flag(value: unknown, where: string): boolean {
  if (typeof value !== "boolean") throw wrong(where, "true or false", value);
  return value;
}

function whole(least: number, most = Number.MAX_SAFE_INTEGER) {
  return (value: unknown, where: string): number => {
    if (!Number.isInteger(value) || (value as number) < least || (value as number) > most) {
      throw wrong(where, most === Number.MAX_SAFE_INTEGER ? `a whole number from ${least}` : `a whole number from ${least} to ${most}`, value);
    }
    return value as number;
  };
}

function maybe(check: (value: unknown, where: string) => unknown) {
  return (value: unknown, where: string): unknown => (value === null ? null : check(value, where));
}

function among(...choices: (string | number)[]) {
  return (value: unknown, where: string): unknown => {
    if (!choices.includes(value as string)) throw wrong(where, choices.map(printed).join(" or "), value);
    return value;
  };
}

function length(values: unknown[], wanted: number, where: string): void {
  if (values.length !== wanted) throw wrong(where, `${wanted} entries`, `${values.length} entries`);
}

function checkedHeader(value: unknown): Header {
  const header = object(value, "the top");
  among("sociogram-frame")(header.format, "format");
  if (header.version !== VERSION) {
    throw new Error(`This frame's header has version ${printed(header.version)}; this page reads version ${VERSION}.`);
  }
  const model = object(header.model, "model");
  text(model.name, "model.name");
  whole(1)(model.d_model, "model.d_model");
  flag(model.logits, "model.logits");
  const source = object(header.source, "source");
  text(source.model, "source.model");
  maybe(text)(source.text, "source.text");
  text(source.sociogram, "source.sociogram");
  const arrays = object(header.arrays, "arrays");
  for (const [name, one] of Object.entries(arrays)) {
    const entry = object(one, `arrays.${name}`);
    among("f4", "f2", "u1", "u2", "u4")(entry.dtype, `arrays.${name}.dtype`);
    list(entry.shape, `arrays.${name}.shape`, whole(0));
    const offset = whole(0)(entry.offset, `arrays.${name}.offset`);
    if (offset % 8 !== 0) throw wrong(`arrays.${name}.offset`, "a multiple of 8", offset);
  }
  const runs = list(header.runs, "runs", checkInfo);
  if (runs.length < 1 || runs.length > 2) throw wrong("runs", "one recording or two", `${runs.length}`);
  return header as unknown as Header;
}

function checkInfo(value: unknown, at: string): void {
  const run = object(value, at);
  text(run.name, `${at}.name`);
  const tokens = list(run.tokens, `${at}.tokens`, text).length;
  if (tokens < 1) throw wrong(`${at}.tokens`, "one token at least", "none");
  maybe(whole(1, tokens))(run.prompt, `${at}.prompt`);
  maybe((value, where) => {
    const streamed = object(value, where);
    whole(1)(streamed.top, `${where}.top`);
    among("message", "attention")(streamed.by, `${where}.by`);
  })(run.streamed, `${at}.streamed`);
  const stops = list(run.stops, `${at}.stops`, (one, where) => {
    const stop = object(one, where);
    whole(-1)(stop.layer, `${where}.layer`);
    text(stop.part, `${where}.part`);
  }).length;
  if (stops < 1) throw wrong(`${at}.stops`, "one stop at least", "none");
  list(run.layers, `${at}.layers`, (one, where) => {
    const layer = object(one, where);
    among("closed", "opaque", "unsupported")(layer.status, `${where}.status`);
    whole(-1, stops - 1)(layer.stop, `${where}.stop`);
    whole(-1, stops - 1)(layer.before, `${where}.before`);
  });
  whole(0)(run.heads, `${at}.heads`);
  flag(run.causal, `${at}.causal`);
  list(run.predictions, `${at}.predictions`, (one, where) => {
    const prediction = object(one, where);
    text(prediction.token, `${where}.token`);
    number(prediction.probability, `${where}.probability`);
  });
  const audit = object(run.audit, `${at}.audit`);
  maybe(number)(audit.relative_error, `${at}.audit.relative_error`);
  maybe(number)(audit.null_drift, `${at}.audit.null_drift`);
  maybe(whole(1))(audit.checked, `${at}.audit.checked`);
  const views = list(run.views, `${at}.views`, (one, where) => {
    const view = object(one, where);
    text(view.name, `${where}.name`);
    text(view.label, `${where}.label`);
    const components = list(view.components, `${where}.components`, text).length;
    if (components < 1) throw wrong(`${where}.components`, "one component at least", "none");
    length(list(view.variance, `${where}.variance`, number), components, `${where}.variance`);
    if (view.null_variance !== null) length(list(view.null_variance, `${where}.null_variance`, number), components, `${where}.null_variance`);
    number(view.scale, `${where}.scale`);
    list(view.fitted_without, `${where}.fitted_without`, whole(0));
    maybe(text)(view.note, `${where}.note`);
  });
  if (views.length < 1) throw wrong(`${at}.views`, "one view at least", "none");
  const measures = object(run.measures, `${at}.measures`);
  list(measures.names, `${at}.measures.names`, (name, where) => {
    const here = `${at}.measures.${text(name, where)}`;
    const measure = object(measures[name as string], here);
    text(measure.label, `${here}.label`);
    text(measure.unit, `${here}.unit`);
    for (const key of ["all", "without_first", "null_low", "null_high"]) length(list(measure[key], `${here}.${key}`, maybe(number)), stops, `${here}.${key}`);
  });
  list(run.meanings, `${at}.meanings`, (one, where) => {
    const meaning = object(one, where);
    among("message", "attention", "contribution", "toward")(meaning.name, `${where}.name`);
    text(meaning.label, `${where}.label`);
    flag(meaning.signed, `${where}.signed`);
    maybe(text)(meaning.token, `${where}.token`);
  });
  if (run.words !== null) {
    const words = object(run.words, `${at}.words`);
    list(words.vocabulary, `${at}.words.vocabulary`, text);
    list(words.stops, `${at}.words.stops`, whole(0, stops - 1));
    list(words.tokens, `${at}.words.tokens`, whole(0, tokens - 1));
  }
  whole(0)(run.neighbours, `${at}.neighbours`);
}

/** The arrays that every run must have, in their shapes (C and K and E as the header says). */
function checkRun(run: Run, header: Header): void {
  const { info } = run;
  const index = header.runs.indexOf(info);
  const [S, T, L, H, K] = [info.stops.length, info.tokens.length, info.layers.length, info.heads, info.neighbours];
  const shape = (name: string, wanted: number[]): void => {
    const entry = header.arrays[`${index}/${name}`];
    if (!entry) throw new Error(`The frame has no array ${index}/${name}.`);
    if (entry.shape.length !== wanted.length || wanted.some((n, axis) => n >= 0 && entry.shape[axis] !== n)) {
      throw new Error(`The frame's array ${index}/${name} has shape ${entry.shape.join(" x ")}, not ${wanted.map((n) => (n < 0 ? "any" : n)).join(" x ")}.`);
    }
    run.array(name);
  };
  for (const view of info.views) {
    shape(`position/${view.name}`, [S, T, view.components.length]);
    shape(`distance/${view.name}`, [S, T]);
  }
  shape("norm", [S, T]);
  shape("moved", [S, T]);
  shape("neighbour", [S, T, K]);
  shape("neighbour_distance", [S, T, K]);
  for (const part of ["moved", "from_others", "from_itself", "mlp"]) shape(`move/${part}`, [L, T]);
  const E = header.arrays[`${index}/edge/layer`]?.shape[0] ?? 0;
  for (const column of ["layer", "head", "query", "key", "attention", "message", "contribution", "pull"]) shape(`edge/${column}`, [E]);
  for (const meaning of info.meanings) {
    if (meaning.name === "toward") shape("edge/toward", [E]);
    shape(`rank/${meaning.name}`, [-1]);
    shape(`rank_start/${meaning.name}`, [L + 1]);
    shape(`total/${meaning.name}`, [L, H, 3]);
    shape(`total_reader/${meaning.name}`, [L, T, 3]);
    checkRanks(run, meaning.name, E);
  }
  shape("count", [L, H, 3]);
  const within = (name: string, below: number): void => {
    const values = run.array(name);
    for (let i = 0; i < values.length; i++) {
      if ((values[i] as number) >= below) throw new Error(`The frame's array ${index}/${name} holds ${values[i]}, which must be below ${below}.`);
    }
  };
  within("edge/layer", L);
  within("edge/head", H);
  within("edge/query", T);
  within("edge/key", T);
  within("neighbour", T);
  if (info.words) {
    shape("word", [info.words.stops.length, info.words.tokens.length]);
    shape("word_probability", [info.words.stops.length, info.words.tokens.length]);
    within("word", info.words.vocabulary.length);
  }
}

function checkRanks(run: Run, meaning: string, edges: number): void {
  const rank = run.array(`rank/${meaning}`);
  const start = run.array(`rank_start/${meaning}`);
  for (let l = 0; l + 1 < start.length; l++) {
    if ((start[l] as number) > (start[l + 1] as number)) throw new Error(`The frame's rank_start/${meaning} does not rise.`);
  }
  if ((start[start.length - 1] ?? 0) > rank.length) throw new Error(`The frame's rank_start/${meaning} points past its ranks.`);
  for (let i = 0; i < rank.length; i++) {
    if ((rank[i] as number) >= edges) throw new Error(`The frame's rank/${meaning} names edge ${rank[i]} of ${edges}.`);
  }
}
