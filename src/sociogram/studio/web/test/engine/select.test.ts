import { describe, expect, it } from "vitest";
import { defaultState, headTotals, kindOf, mostTold, layerOfStop, select, showsArrows, sizes } from "../../src/engine";
import type { MeaningName, Run, State } from "../../src/types";
import { random, tinyFrame, type TinyOptions } from "../helpers";

const at = (options: TinyOptions = {}): { run: Run; state: State } => {
  const { frame } = tinyFrame({ tokens: 7, ...options });
  return { run: frame.runs[0]!, state: { ...defaultState(frame), token: null } };
};

/** The selection said again, slowly: every edge, each rule on its own. */
function slowly(run: Run, state: State): number[] {
  const layer = state.layer ?? run.info.layers.findIndex((each) => each.stop === state.stop);
  const rank = Array.from(run.array(`rank/${state.meaning}`));
  let edges = rank.filter((e) => run.array("edge/layer")[e] === layer);
  const q = (e: number) => run.array("edge/query")[e]!;
  const k = (e: number) => run.array("edge/key")[e]!;
  const size = (e: number) => Math.abs(run.array(`edge/${state.meaning}`)[e]!);
  if (!state.first) edges = edges.filter((e) => q(e) !== 0 && k(e) !== 0);
  if (!state.itself) edges = edges.filter((e) => q(e) !== k(e));
  if (state.heads.length) edges = edges.filter((e) => state.heads.includes(run.array("edge/head")[e]!));
  if (state.token !== null) edges = edges.filter((e) => q(e) === state.token || k(e) === state.token);
  edges.sort((a, b) => size(b) - size(a));
  return edges.filter((e) => size(e) >= state.threshold * size(edges[0]!)).slice(0, state.arrows);
}

const sum = (run: Run, meaning: MeaningName, edges: Iterable<number>): number => [...edges].reduce((total, e) => total + Math.abs(run.array(`edge/${meaning}`)[e]!), 0);

describe("select", () => {
  it("does what the rules say, whatever is set", () => {
    const next = random(3);
    const pick = <T>(choices: T[]): T => choices[Math.floor(next() * choices.length)]!;
    let drawn = 0;
    for (const causal of [true, false]) {
      const { run, state } = at({ causal, toward: " mat", heads: 3 });
      for (let i = 0; i < 400; i++) {
        const now: State = {
          ...state,
          stop: pick([1, 3, 5]),
          meaning: pick<MeaningName>(["message", "attention", "contribution", "toward"]),
          arrows: pick([1, 5, 20, 3000]),
          threshold: pick([0, 0.2, 0.7]),
          first: pick([true, false]),
          itself: pick([true, false]),
          heads: pick([[], [0], [1, 2]]),
          layer: pick([null, null, 0, 2]),
          token: pick([null, 0, 3, 6]),
        };
        const got = select(run, now);
        expect(Array.from(got.edges)).toEqual(slowly(run, now));
        // all edges are in this frame: totals must be exact
        const all = slowly(run, { ...now, threshold: 0, arrows: 1e9 });
        expect(got.counted).toBe("all");
        expect(got.total).toBeCloseTo(sum(run, now.meaning, all), 4);
        expect(got.hidden).toBe(all.length - got.edges.length);
        expect(got.shown).toBeCloseTo(sum(run, now.meaning, got.edges), 4);
        expect(got.largest).toBeCloseTo(all.length ? sum(run, now.meaning, [all[0]!]) : 0, 6);
        drawn += got.edges.length;
      }
    }
    expect(drawn).toBeGreaterThan(1000);
  });

  it("counts what is not in the frame, wherever the totals tell", () => {
    for (const causal of [true, false]) {
      const whole = at({ causal, heads: 3 });
      const part = at({ causal, heads: 3, keep: 4 });
      expect(part.run.array("edge/layer").length).toBeLessThan(whole.run.array("edge/layer").length);
      let exact = 0;
      for (const first of [true, false]) {
        for (const itself of [true, false]) {
          for (const heads of [[], [1]]) {
            const set = { stop: 3, first, itself, heads, arrows: 3 };
            const truth = select(whole.run, { ...whole.state, ...set });
            const got = select(part.run, { ...part.state, ...set });
            const where = JSON.stringify({ causal, ...set });
            if (got.counted === "all") {
              exact++;
              expect(got.total, where).toBeCloseTo(truth.total!, 4);
              expect(got.hidden + got.edges.length, where).toBe(truth.hidden + truth.edges.length);
            } else {
              expect(heads.length > 0 && !first, where).toBe(true); // only here the totals do not tell
              expect(got.total!).toBeLessThanOrEqual(truth.total!);
              expect(got.hidden + got.edges.length).toBeLessThanOrEqual(truth.hidden + truth.edges.length);
            }
          }
        }
      }
      expect(exact).toBeGreaterThanOrEqual(causal ? 7 : 6);
    }
  });

  it("is honest about one token: what it heard is exact, the rest counts the shipped", () => {
    const whole = at({ heads: 3 });
    const part = at({ heads: 3, keep: 4 });
    const set = { stop: 3, token: 6, arrows: 2, first: true, itself: true };
    const got = select(part.run, { ...part.state, ...set });
    expect(got.counted).toBe("shipped");
    const { run } = whole;
    const heard = slowly(run, { ...whole.state, ...set, arrows: 1e9 }).filter((e) => run.array("edge/query")[e] === 6);
    expect(got.heard!.total).toBeCloseTo(sum(run, "message", heard), 4);
    expect(got.heard!.shown).toBeGreaterThan(0);
    expect(got.heard!.shown).toBeLessThan(got.heard!.total);
    expect(select(part.run, { ...part.state, ...set, heads: [0] }).heard).toBeNull();
    expect(select(part.run, { ...part.state, ...set, first: false, token: 0 }).heard).toBeNull();
  });

  it("is empty after an MLP, at the input and in a layer without an account, unless a layer is held", () => {
    const { run, state } = at({ opaque: [1] });
    // stops: input, 0 attention, 0 mlp, 1 layer, 2 attention, 2 mlp
    for (const stop of [0, 2, 3, 5]) {
      expect(showsArrows(run, stop)).toBe(false);
      const got = select(run, { ...state, stop });
      expect(got.edges).toHaveLength(0);
      expect(got).toMatchObject({ total: 0, hidden: 0, layer: null });
      expect(select(run, { ...state, stop, layer: 2 }).edges.length).toBeGreaterThan(0);
    }
    expect(select(run, { ...state, stop: 1, layer: 1 }).edges).toHaveLength(0);
    expect(select(run, { ...state, stop: 4 }).layer).toBe(2);
    expect(select(run, { ...state, stop: 4, token: 1, heads: [9] }).edges).toHaveLength(0);
    expect(select(run, { ...state, meaning: "toward", stop: 4 }).edges).toHaveLength(0);
  });

  it("between stops keeps to the layer whose messages are on the way", () => {
    const { run } = at();
    expect([0, 1, 2, 3, 4].map((stop) => layerOfStop(run, stop))).toEqual([null, 0, 0, 1, 1]);
    expect(layerOfStop(run, 0.4)).toBe(0); // growing
    expect(layerOfStop(run, 1.4)).toBe(0); // fading
    expect(layerOfStop(run, 2.4)).toBe(1);
    expect(showsArrows(run, 1.4)).toBe(true);
    expect(showsArrows(run, 2)).toBe(false);
  });
});

describe("totals and sizes", () => {
  it("sums heads by kind, NaN where there is no account", () => {
    const { run } = at({ opaque: [0], heads: 2 });
    const got = headTotals(run, "contribution", null, [0, 2]);
    expect(got).toHaveLength(6);
    expect(got[0]).toBeNaN();
    for (const [l, h] of [[1, 0], [2, 1]] as const) {
      let wanted = 0;
      for (let e = 0; e < run.array("edge/head").length; e++) {
        const kind = kindOf(run.array("edge/query")[e]!, run.array("edge/key")[e]!);
        if (run.array("edge/layer")[e] === l && run.array("edge/head")[e] === h && kind !== 1) wanted += Math.abs(run.array("edge/contribution")[e]!);
      }
      expect(got[l * 2 + h]).toBeCloseTo(wanted, 5);
    }
    const row = headTotals(run, "contribution", 2, [0]);
    expect(row[2]).toBeNaN();
    expect(row[4]).toBeGreaterThan(0);
  });

  it("sizes are absolute, and missing ones nothing", () => {
    const { run } = at();
    expect(sizes(run, "contribution")).toBe(sizes(run, "contribution"));
    expect(Math.min(...sizes(run, "contribution"))).toBeGreaterThanOrEqual(0);
    expect(run.array("edge/contribution").some((value) => value < 0)).toBe(true);
  });
});

describe("the default state", () => {
  it("stands where the last token is told most by others, among closed layers", () => {
    for (const seed of [1, 2, 3, 4, 5]) {
      const { frame } = tinyFrame({ seed, layers: 5, opaque: [1], views: ["centred", "plain"] });
      const run = frame.runs[0]!;
      const T = run.info.tokens.length;
      const state = defaultState(frame);
      const moves = [0, 2, 3, 4].map((l) => [run.array("total_reader/message")[(l * T + T - 1) * 3]!, l] as const);
      const layer = moves.sort((a, b) => b[0] - a[0])[0]![1];
      expect(mostTold(run, T - 1)).toBe(layer);
      expect(state).toMatchObject({ run: 0, stop: run.info.layers[layer]!.stop, token: T - 1, arrows: 10, first: false, itself: false, view: "centred", meaning: "message", words: true, panel: "flock", theme: "auto" });
      const { edges } = select(run, state);
      expect(edges.length).toBeGreaterThan(0);
      expect(edges.length).toBeLessThanOrEqual(10);
    }
  });

  it("stands at the end when no layer has an account, and copes with one component and one token", () => {
    const { frame } = tinyFrame({ tokens: 1, components: 1, layers: 2, opaque: [0, 1] });
    expect(defaultState(frame)).toMatchObject({ stop: 2, axes: [0, 0, 0], token: 0, layer: null });
  });
});
