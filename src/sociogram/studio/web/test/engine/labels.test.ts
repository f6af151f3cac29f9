import { describe, expect, it } from "vitest";
import { chooseLabels, defaultState, estimateWidth, labelBox, labelWishes, placeLabels, select, tokenText, wordAt, wordOpacity, type Wish } from "../../src/engine";
import type { Run } from "../../src/types";
import { random, tinyFrame } from "../helpers";

const { frame } = tinyFrame({ tokens: 12, layers: 3 });
const run = frame.runs[0]!;
const state = defaultState(frame);
const selection = select(run, state);

const wish = (token: number, priority = 50, more: Partial<Wish> = {}): Wish => ({ token, text: `token${token}`, word: null, probability: 0, priority, strong: false, ...more });

describe("texts in a crowd", () => {
  const state = { token: 1199, pins: [7], words: false, first: false };
  it("stand on those alone whom arrows touch or who are looked at", () => {
    const run = tinyFrame({ tokens: 6 }).frame.runs[0]!;
    const tokens = Array.from({ length: 1200 }, (_, t) => ` w${t}`);
    const crowd: Run = { ...run, info: { ...run.info, tokens } };
    const edges = Uint32Array.from([run.array("edge/query").findIndex((q) => q === 4)]);
    const selection = { edges, largest: 1, shown: 1, total: 1, hidden: 0, counted: "all" as const, layer: 0, heard: null };
    const wishes = labelWishes(crowd, state, selection, null, 1).map((wish) => wish.token);
    const key = run.array("edge/key")[edges[0]!]!;
    expect(new Set(wishes)).toEqual(new Set([1199, 7, 4, ...(key === 0 ? [] : [key])]));
    expect(labelWishes(crowd, state, { ...selection, edges: new Uint32Array(0) }, null, 1)).toHaveLength(2);
    expect(labelWishes({ ...crowd, info: { ...run.info, tokens: tokens.slice(0, 900) } }, { ...state, token: 3 }, selection, null, 1)).toHaveLength(899);
  });
});

describe("wordAt", () => {
  it("reads the nearest shipped stop at or before", () => {
    // words are at stops 0, 2, 4, 6, for tokens 1 to 11
    const words = run.info.words!;
    const wanted = (row: number, token: number): string => words.vocabulary[run.array("word")[row * 11 + token - 1]!]!;
    expect(wordAt(run, 4, 3)).toMatchObject({ text: wanted(2, 3), stop: 4 });
    expect(wordAt(run, 5, 3)).toMatchObject({ text: wanted(2, 3), stop: 4 });
    expect(wordAt(run, 4.9, 3)).toMatchObject({ stop: 4 });
    expect(wordAt(run, 0, 11)!.probability).toBeCloseTo(run.array("word_probability")[10]!);
    expect(wordAt(run, 4, 0)).toBeNull();
    expect(wordAt(run, 4, 99)).toBeNull();
    expect(wordAt(tinyFrame({ words: false }).frame.runs[0]!, 4, 3)).toBeNull();
  });
});

describe("texts", () => {
  it("are made fit to be drawn: nothing invisible, nothing endless, no markup meant", () => {
    expect(tokenText(" cat")).toBe("cat");
    expect(tokenText("␣cat")).toBe("cat");
    expect(tokenText("\n\n")).toBe("⏎⏎");
    expect(tokenText("  ")).toBe("␣");
    expect(tokenText("")).toBe("∅");
    expect(tokenText("a\u202eb\u0000c\u200b")).toBe("abc");
    expect(tokenText("</script>")).toBe("</script>");
    expect(Array.from(tokenText("🦩".repeat(100)))).toHaveLength(22);
  });

  it("are estimated wider the longer they are", () => {
    expect(estimateWidth("www")).toBeGreaterThan(estimateWidth("iii"));
    expect(estimateWidth("日本")).toBeCloseTo(2 * 1.02 * 12);
    expect(estimateWidth("")).toBe(0);
  });

  it("fade with uncertainty, but never quite", () => {
    expect(wordOpacity(1)).toBe(1);
    expect(wordOpacity(0)).toBe(0.3);
    expect(wordOpacity(0.25)).toBeCloseTo(0.65);
  });
});

describe("labelWishes", () => {
  it("wants the chosen and its senders first, and not the sink", () => {
    const got = labelWishes(run, { ...state, pins: [4] }, selection, 2, state.stop);
    expect(got.slice(0, 3).map((one) => one.token)).toEqual([2, 11, 4]);
    expect(got[0]!.strong && got[2]!.strong).toBe(true);
    const senders = new Set(Array.from(selection.edges, (e) => run.array("edge/key")[e]!).filter((token) => ![2, 11, 4].includes(token)));
    expect(new Set(got.slice(3, 3 + senders.size).map((one) => one.token))).toEqual(senders);
    expect(got.some((one) => one.token === 0)).toBe(false);
    expect(labelWishes(run, { ...state, first: true }, selection, null, 3).some((one) => one.token === 0)).toBe(true);
    expect(labelWishes(run, { ...state, words: false }, selection, null, 3).every((one) => one.word === null)).toBe(true);
  });
});

describe("placeLabels", () => {
  it("never lets texts cover each other or other points, however many want one", () => {
    const next = random(4);
    const places = Array.from({ length: 400 }, () => [next() * 600, next() * 400] as const);
    const wishes = places.map((_, token) => wish(token, 100 - token / 4));
    const got = placeLabels(wishes, (token) => places[token]!, { width: 600, height: 400, radius: 3, most: 1000 });
    expect(got.length).toBeGreaterThan(20);
    const boxes = got.map((label) => labelBox(places[label.token]![0], places[label.token]![1], estimateWidth(label.text), 3, label.side!));
    boxes.forEach(([l, t, w, h], i) => {
      expect(l >= 0 && t >= 0 && l + w <= 600 && t + h <= 400).toBe(true);
      for (const [L, T, W, H] of boxes.slice(0, i)) expect(l < L + W && l + w > L && t < T + H && t + h > T).toBe(false);
      places.forEach(([x, y], token) => {
        if (token !== got[i]!.token && wishes[token]!.priority >= 40) expect(x > l && x < l + w && y > t && y < t + h).toBe(false);
      });
    });
  });

  it("serves the more wanted first, and no more than asked for", () => {
    const got = placeLabels([wish(3, 90), wish(1), wish(2)], (token) => [100, 100 + token], { width: 300, height: 300, radius: 2, most: 1 });
    expect(got.map((label) => label.token)).toEqual([3]);
  });

  it("turns to a free side, stays inside, and drops the word where it does not fit", () => {
    const at = (x: number, y: number, one = wish(0)) => placeLabels([one], () => [x, y], { width: 300, height: 300, radius: 4 })[0];
    expect(at(100, 100)!.side).toBe("right");
    expect(at(290, 100)!.side).toBe("left");
    const wordy = wish(0, 50, { word: "astonishment", probability: 0.25 });
    expect(at(100, 100, wordy)).toMatchObject({ word: "astonishment", wordOpacity: wordOpacity(0.25) });
    const narrow = placeLabels([wordy], () => [40, 50], { width: 100, height: 100, radius: 4 });
    expect(narrow[0]).toMatchObject({ text: "token0" });
    expect(narrow[0]!.word).toBeUndefined();
    expect(placeLabels([wish(0)], () => null, { width: 300, height: 300, radius: 4 })).toEqual([]);
    expect(placeLabels([wish(0)], () => [-50, 100], { width: 300, height: 300, radius: 4 })).toEqual([]);
  });

  it("keeps away from arrows, and from places that are taken", () => {
    const one = (more: object) => placeLabels([wish(0)], () => [150, 100], { width: 300, height: 300, radius: 4, ...more })[0];
    expect(one({ arrows: [180, 100, 190, 100] })!.side).toBe("left");
    expect(one({ avoid: [[155, 80, 100, 40]] })!.side).toBe("left");
    expect(one({ avoid: [[0, 0, 300, 300]] })).toBeUndefined();
    expect(placeLabels([wish(0, 80, { strong: true })], () => [150, 100], { width: 300, height: 300, radius: 4, avoid: [[0, 0, 300, 300]] })).toHaveLength(1);
  });
});

describe("chooseLabels", () => {
  it("labels what the picture is about", () => {
    const next = random(9);
    const places = run.info.tokens.map(() => [50 + next() * 700, 50 + next() * 450] as [number, number]);
    const got = chooseLabels(run, state, selection, null, state.stop, (token) => places[token]!, { width: 800, height: 550 });
    expect(got[0]).toMatchObject({ token: 11, strong: true, opacity: 1 });
    expect(got.length).toBeGreaterThan(6);
  });
});
