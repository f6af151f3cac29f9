import { describe, expect, it } from "vitest";
import { defaultState, select } from "../../src/engine";
import { drawnError, positionsOf } from "../../src/engine/project";
import { allowed, edgeRow, edgesOf, headTotal, layerEdges, lengthLine, meanError, mover, moves, movedAt, nearest, neighbours, readerTotal, trail, variance, wordAt, written } from "../../src/ui/facts";
import { tinyFrame } from "../helpers";

const { frame } = tinyFrame({ tokens: 8, layers: 3, heads: 3, toward: " mat" });
const run = frame.runs[0]!;

describe("facts of a run", () => {
  it("list what a token heard as the selection does", () => {
    const state = { ...defaultState(frame), token: 7, stop: run.info.layers[2]!.stop, arrows: 3000 };
    for (const [first, itself] of [[false, false], [true, false], [true, true], [false, true]] as const) {
      const chosen = select(run, { ...state, first, itself });
      const heard = edgesOf(run, 2, 7, "heard", "message", { first, itself, most: 3000 });
      expect(heard.rows.map((row) => row.edge)).toEqual([...chosen.edges]); // the last token: nobody hears it
      expect(heard.shown).toBeCloseTo(chosen.shown, 5);
      expect(allowed(readerTotal(run, "message", 2, 7), first, itself)).toBeCloseTo(heard.shown, 4);
    }
  });
  it("find who heard a token", () => {
    const told = edgesOf(run, 1, 3, "told", "attention", { first: true, itself: false, heads: [1], most: 99 });
    expect(told.rows.length).toBe(4);
    expect(told.rows.every((row) => row.key === 3 && row.query > 3 && row.head === 1 && row.layer === 1)).toBe(true);
    const sizes = told.rows.map((row) => row.attention);
    expect(sizes).toEqual([...sizes].sort((a, b) => b - a));
  });
  it("give an edge's numbers, the sender's value among them", () => {
    const row = edgeRow(run, layerEdges(run, 1)[0]!);
    expect(row.value).toBeCloseTo(row.message / row.attention, 6);
    expect(row.toward).not.toBeNull();
    expect(row.layer).toBe(1);
  });
  it("sum totals by kind", () => {
    const heads = [0, 1, 2].reduce((sum, head) => sum + allowed(headTotal(run, "message", 1, head), true, true), 0);
    const readers = run.info.tokens.reduce((sum, _, token) => sum + allowed(readerTotal(run, "message", 1, token), true, true), 0);
    expect(heads).toBeCloseTo(readers, 3);
    expect(allowed([1, 2, 4], false, false)).toBe(1);
    expect(allowed([1, 2, 4], true, true)).toBe(7);
    expect(allowed([NaN, NaN, NaN], true, true)).toBeNaN();
    expect(allowed([1, NaN, 4], true, true)).toBe(5);
  });
  it("measure moves, movers and neighbours", () => {
    const best = mover(run, 3, false)!;
    for (let token = 1; token < 8; token++) expect(movedAt(run, 3, token)).toBeLessThanOrEqual(movedAt(run, 3, best));
    const { edited, from_source, from_outside, ...parts } = moves(run, 0, 1);
    expect(Object.values(parts).every((value) => value >= 0.2)).toBe(true);
    expect([edited, from_source, from_outside]).toEqual([NaN, NaN, NaN]); // a run without edits ships none
    const near = neighbours(run, 2, 4);
    expect(near).toHaveLength(3);
    expect(near[0]!.distance).toBeLessThanOrEqual(near[1]!.distance);
    expect(near.some((other) => other.token === 4)).toBe(false);
  });
  it("have what came from elsewhere where it is shipped", () => {
    const more = tinyFrame({ moves: ["from_outside", "edited"] }).frame.runs[0]!;
    const parts = moves(more, 1, 2);
    expect(parts.from_outside).toBeCloseTo(more.array("move/from_outside")[1 * 6 + 2]!, 6);
    expect(parts.edited).toBeGreaterThan(0);
    expect(parts.from_source).toBeNaN();
  });
  it("find neighbours in what is shipped where the file has none in the full space", () => {
    const bare = tinyFrame({ tokens: 8, neighbours: 0 }).frame.runs[0]!;
    const view = bare.info.views[1]!;
    const C = view.components.length;
    const places = bare.array(`position/${view.name}`);
    const far = (a: number, b: number): number => view.scale * Math.hypot(...Array.from({ length: C }, (_, c) => places[(2 * 8 + a) * C + c]! - places[(2 * 8 + b) * C + c]!));
    const found = nearest(bare, view, 2, 4);
    expect(found.whole).toBe(false);
    expect(found.where).toBe("4 components");
    const others = [0, 1, 2, 3, 5, 6, 7].sort((a, b) => far(4, a) - far(4, b)).slice(0, 5);
    expect(found.near.map((other) => other.token)).toEqual(others);
    found.near.forEach((other) => expect(other.distance).toBeCloseTo(far(4, other.token), 4));
    expect(nearest(run, run.info.views[0]!, 2, 4)).toEqual({ near: neighbours(run, 2, 4), where: "the full space", whole: true });
    expect(nearest(tinyFrame({ tokens: 1 }).frame.runs[0]!, view, 0, 0).near).toEqual([]);
  });
  it("tell what was read from what was written", () => {
    const info = tinyFrame({ tokens: 8, prompt: 3 }).frame.runs[0]!.info;
    expect(lengthLine(info)).toBe("3 tokens read, 5 written");
    expect([2, 3, 7].map((token) => written(info, token))).toEqual([false, true, true]);
    expect(lengthLine(run.info)).toBe("8 tokens");
    expect(written(run.info, 7)).toBe(false);
  });
  it("join equal lens words over the stops", () => {
    const words = trail(run, 3);
    expect(words[0]!.from).toBe(0);
    for (let i = 1; i < words.length; i++) expect(words[i]!.text).not.toBe(words[i - 1]!.text);
    expect(wordAt(run, 1, 3)).toEqual(wordAt(run, 0, 3)); // the lens was not read there: what it last said
    expect(wordAt(run, 2, 0)).toBeNull();
    expect(wordAt(run, 2, 3)!.probability).toBeGreaterThanOrEqual(0);
  });
});

describe("what a projection leaves out", () => {
  const view = run.info.views[0]!;
  it("is the engine's error, averaged", () => {
    for (const turn of [{ yaw: 0, pitch: 0 }, { yaw: 0.7, pitch: -0.4 }]) {
      const positions = positionsOf(run, view, [0, 1, 2]);
      const tokens = run.info.tokens.map((_, token) => token).slice(1);
      const mean = tokens.reduce((sum, token) => sum + drawnError(positions, 4, token, turn), 0) / tokens.length;
      expect(meanError(run, view, 4, [0, 1, 2], turn, false)).toBeCloseTo(mean, 5);
    }
  });
  it("counts the plane of the screen, and a component once", () => {
    expect(variance([0.4, 0.2, 0.1], [0, 1, 2], { yaw: 0, pitch: 0 })).toBeCloseTo(0.6);
    expect(variance([0.4, 0.2, 0.1], [0, 1, 2], { yaw: Math.PI / 2, pitch: 0 })).toBeCloseTo(0.3);
    expect(variance([0.4, 0.2, 0.1], [0, 1, 2], { yaw: 0, pitch: Math.PI / 2 })).toBeCloseTo(0.5);
    expect(variance([0.4, 0.2, 0.1], [0, 0, 2], { yaw: 0, pitch: 0 })).toBeCloseTo(0.4);
    expect(variance(null, [0, 1, 2], { yaw: 0, pitch: 0 })).toBeNull();
  });
});
