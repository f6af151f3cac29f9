import Ajv2020 from "ajv/dist/2020";
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { decodeFrame, readFrame, widen } from "../../src/engine/frame";
import { encodeFrame, packFrame, tinyFrame, toHalf } from "../helpers";

const schemaFile = fileURLToPath(new URL("../../../frame.schema.json", import.meta.url));

describe("a frame as written", () => {
  it("comes back number by number, from base64 and from bytes", async () => {
    const tiny = tinyFrame({ runs: 2, toward: " mat" });
    for (const data of [tiny.base64, tiny.bytes, `\n  ${tiny.base64}\n`]) {
      const frame = await decodeFrame(data);
      expect(frame.header).toEqual(JSON.parse(JSON.stringify(tiny.header)));
      expect(frame.runs).toHaveLength(2);
      for (const [full, stored] of Object.entries(tiny.arrays)) {
        const name = full.slice(2);
        const got = frame.runs[Number(full[0])]!.array(name);
        expect(Array.from(got), full).toEqual(Array.from(stored.dtype === "f2" ? widen(stored.data as Uint16Array) : stored.data));
      }
    }
  });

  it("gives each array once, and says which it has", async () => {
    const frame = await decodeFrame(tinyFrame().bytes);
    const run = frame.runs[0]!;
    expect(run.array("position/plain")).toBe(run.array("position/plain"));
    expect(run.has("edge/pull")).toBe(true);
    expect(run.has("edge/toward")).toBe(false);
    expect(run.has("toString")).toBe(false);
    expect(() => run.array("edge/toward")).toThrow("no array edge/toward");
  });

  it("is read wherever the bytes lie, aligned or not", () => {
    const tiny = tinyFrame();
    const packed = packFrame(tiny.header, tiny.arrays);
    for (const shift of [0, 1, 2, 5]) {
      const moved = new Uint8Array(packed.length + shift);
      moved.set(packed, shift);
      const run = readFrame(moved.subarray(shift)).runs[0]!;
      expect(Array.from(run.array("norm"))).toEqual(Array.from(tiny.arrays["0/norm"]!.data));
      expect(Array.from(run.array("edge/query"))).toEqual(Array.from(tiny.arrays["0/edge/query"]!.data));
    }
  });

  it("keeps hostile and long texts as texts", async () => {
    const tokens = ["</script>", "<img onerror=x>", "\u202e", "\u0000", "日本", "🦩", "a".repeat(5000)];
    const frame = await decodeFrame(tinyFrame({ tokens }).base64);
    expect(frame.runs[0]!.info.tokens).toEqual(tokens);
  });

  it("fits the schema, which refuses what is more or less", () => {
    expect(existsSync(schemaFile), "frame.schema.json").toBe(true);
    const validate = new Ajv2020({ strict: true, allErrors: true }).compile(JSON.parse(readFileSync(schemaFile, "utf8")));
    for (const options of [{}, { runs: 2 as const, toward: " mat" }, { words: false }, { opaque: [1] }, { parallel: true }]) {
      const { header } = tinyFrame(options);
      expect(validate(header), JSON.stringify(validate.errors?.slice(0, 3))).toBe(true);
    }
    const { header } = tinyFrame();
    expect(validate({ ...header, more: 1 })).toBe(false);
    expect(validate({ ...header, model: undefined })).toBe(false);
  });
});

describe("half floats", () => {
  it("are widened exactly: zeros, subnormals, normals, infinities, NaN", () => {
    const bits = [0x0000, 0x8000, 0x0001, 0x8001, 0x03ff, 0x0400, 0x3c00, 0xbc00, 0x3555, 0x7bff, 0xfbff, 0x7c00, 0xfc00];
    const values = [0, -0, 2 ** -24, -(2 ** -24), 1023 * 2 ** -24, 2 ** -14, 1, -1, 1365 / 4096, 65504, -65504, Infinity, -Infinity];
    expect(Array.from(widen(Uint16Array.from(bits)))).toEqual(values);
    for (const nan of [0x7c01, 0x7e00, 0xfe00, 0xffff]) expect(widen(Uint16Array.of(nan))[0]).toBeNaN();
  });

  it("agree with the arithmetic for all bit patterns", () => {
    const all = widen(Uint16Array.from({ length: 65536 }, (_, i) => i));
    for (let h = 0; h < 65536; h++) {
      const [e, f] = [(h >> 10) & 31, h & 1023];
      const size = e === 31 ? (f ? NaN : Infinity) : e === 0 ? f * 2 ** -24 : (1 + f / 1024) * 2 ** (e - 15);
      const wanted = h & 0x8000 ? -size : size;
      if (!Object.is(all[h], wanted)) expect(all[h], String(h)).toBeNaN();
      if (!Number.isNaN(wanted)) expect(toHalf(wanted)).toBe(h);
    }
  });
});

describe("what is no good frame", () => {
  const tiny = tinyFrame();
  const packed = packFrame(tiny.header, tiny.arrays);
  const changed = (at: number, byte: number): Uint8Array => {
    const copy = packed.slice();
    copy[at] = byte;
    return copy;
  };

  it("says so: not base64, not gzip, cut short", async () => {
    await expect(decodeFrame("%%%")).rejects.toThrow("not base64");
    await expect(decodeFrame("AAAA")).rejects.toThrow("not compressed with gzip");
    await expect(decodeFrame("")).rejects.toThrow("cut short");
    await expect(decodeFrame(tiny.bytes.subarray(0, 200))).rejects.toThrow("cannot be unpacked");
    await expect(decodeFrame(new Uint8Array(gzipSync(packed.subarray(0, packed.length - 64))))).rejects.toThrow("cut short");
    expect(() => readFrame(packed.subarray(0, 7))).toThrow("cut short");
    expect(() => readFrame(packed.subarray(0, 100))).toThrow("cut short");
  });

  it("names both versions", async () => {
    expect(() => readFrame(changed(3, 50))).toThrow(/version "2".*reads version 1/);
    expect(() => readFrame(changed(0, 50))).toThrow("no sociogram frame");
    const header = { ...structuredClone(tiny.header), version: 7 as unknown as 1 };
    await expect(decodeFrame(encodeFrame(header, tiny.arrays))).rejects.toThrow(/version 7.*version 1/);
  });

  it("says where the header is wrong", () => {
    const broken = (change: (header: any) => void): (() => unknown) => {
      const header = structuredClone(tiny.header);
      change(header);
      return () => readFrame(packFrame(header, tiny.arrays));
    };
    expect(() => readFrame(changed(8, 0x21))).toThrow("header cannot be read");
    expect(broken((h) => (h.format = "other"))).toThrow("wrong at format");
    expect(broken((h) => delete h.model.d_model)).toThrow("model.d_model");
    expect(broken((h) => (h.runs = []))).toThrow("wrong at runs");
    expect(broken((h) => (h.runs[0].tokens[2] = 3))).toThrow("runs[0].tokens[2]");
    expect(broken((h) => (h.runs[0].layers[0].stop = 99))).toThrow("runs[0].layers[0].stop");
    expect(broken((h) => (h.runs[0].layers[0].status = "shut"))).toThrow('"closed" or "opaque"');
    expect(broken((h) => h.runs[0].views[0].variance.pop())).toThrow("runs[0].views[0].variance");
    expect(broken((h) => (h.runs[0].prompt = 99))).toThrow("runs[0].prompt");
    expect(broken((h) => delete h.runs[0].prompt)).toThrow("runs[0].prompt");
    expect(broken((h) => (h.runs[0].streamed = { top: 0, by: "message" }))).toThrow("runs[0].streamed.top");
    expect(broken((h) => (h.runs[0].streamed = { top: 8, by: "size" }))).toThrow("runs[0].streamed.by");
    expect(broken((h) => (h.runs[0].audit.checked = -1))).toThrow("runs[0].audit.checked");
    expect(broken((h) => (h.runs[0].words.tokens[0] = 99))).toThrow("words.tokens[0]");
    expect(broken((h) => h.runs[0].measures.cohesion.all.pop())).toThrow("measures.cohesion.all");
    expect(broken((h) => (h.runs[0].meanings[0].name = "__proto__"))).toThrow("meanings[0].name");
  });

  it("says which array is missing, misshapen or points nowhere", () => {
    const broken = (change: (arrays: Record<string, any>) => void): (() => unknown) => {
      const arrays = Object.fromEntries(Object.entries(tiny.arrays).map(([name, one]) => [name, { ...one, data: one.data.slice() }]));
      change(arrays);
      return () => readFrame(packFrame(structuredClone(tiny.header), arrays as typeof tiny.arrays));
    };
    expect(broken((a) => delete a["0/norm"])).toThrow("no array 0/norm");
    expect(broken((a) => (a["0/norm"].shape = [1, a["0/norm"].data.length]))).toThrow("0/norm has shape");
    expect(broken((a) => (a["0/move/from_outside"] = { ...a["0/norm"] }))).toThrow("0/move/from_outside has shape");
    expect(broken((a) => (a["0/edge/query"].data[0] = 99))).toThrow("0/edge/query holds 99");
    expect(broken((a) => (a["0/rank/message"].data[0] = 1e6))).toThrow("rank/message names edge 1000000");
    expect(broken((a) => (a["0/rank_start/message"].data[3] = 1e6))).toThrow("points past");
    expect(broken((a) => (a["0/rank_start/message"].data[1] = 1e6))).toThrow("does not rise");
    expect(broken((a) => (a["0/word"].data[0] = 99))).toThrow("0/word holds 99");
  });
});
