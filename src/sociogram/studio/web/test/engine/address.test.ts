import { describe, expect, it } from "vitest";
import { defaultState, fromFragment, toFragment } from "../../src/engine";
import type { State } from "../../src/types";
import { random, tinyFrame } from "../helpers";

const { frame } = tinyFrame({ runs: 2, tokens: 12, layers: 4, heads: 5, toward: " mat", components: 5 });
const defaults = defaultState(frame);

function anyState(next: () => number): State {
  const below = (n: number): number => Math.floor(next() * n);
  const pick = <T>(choices: readonly T[]): T => choices[below(choices.length)]!;
  const some = (n: number): number[] => Array.from({ length: n }, (_, i) => i).filter(() => next() < 0.3);
  const fine = (least: number, most: number): number => Number((least + next() * (most - least)).toFixed(4));
  return {
    run: below(2),
    ghosts: pick([true, false]),
    stop: pick([below(9), fine(0, 8)]),
    playing: pick([true, false]),
    view: pick(["plain", "centred"]),
    axes: [below(5), below(5), below(5)],
    camera: pick([defaults.camera, { yaw: fine(-6, 6), pitch: fine(-1.5, 1.5), zoom: fine(0.1, 50), x: fine(-3, 3), y: fine(-3, 3), follow: pick([true, false]) }]),
    meaning: pick(["message", "attention", "contribution", "toward"] as const),
    arrows: 1 + below(3000),
    threshold: fine(0, 1),
    first: pick([true, false]),
    itself: pick([true, false]),
    heads: some(5),
    layer: pick([null, 0, 3]),
    token: pick([null, 0, 11]),
    pins: some(12).reverse(),
    words: pick([true, false]),
    panel: pick(["flock", "arcs", "reach", "table"] as const),
    theme: pick(["auto", "light", "dark"] as const),
    help: pick([true, false]),
  };
}

describe("the address", () => {
  it("is empty for the defaults and names only what differs", () => {
    expect(toFragment(defaults, defaults)).toBe("");
    expect(fromFragment("", frame, defaults)).toEqual(defaults);
    expect(toFragment({ ...defaults, stop: 5, token: null, heads: [1, 4], first: true }, defaults)).toBe("stop=5&first=1&heads=1.4&token=none");
  });

  it("brings back every state, from every default", () => {
    const next = random(11);
    for (let i = 0; i < 3000; i++) {
      const [state, from] = [anyState(next), i % 2 ? defaults : anyState(next)];
      const text = toFragment(state, from);
      const back = fromFragment(i % 3 ? text : `#${text}`, frame, from);
      expect(back, text).toEqual(state);
      expect(text).toMatch(/^[A-Za-z0-9=&.,%_-]*$/);
    }
  });

  it("clamps what is out of range", () => {
    const got = fromFragment("run=9&stop=99&axes=0.9.2&arrows=1e9&over=-3&heads=1.77.3.3&layer=50&token=500&pins=3.99&camera=1,9,0,500,-500", frame, defaults);
    expect(got).toMatchObject({ run: 1, stop: 8, axes: [0, 4, 2], arrows: 3000, threshold: 0, heads: [1, 3], layer: 3, token: 11, pins: [3] });
    expect(got.camera.pitch).toBeCloseTo(Math.PI / 2);
    expect(got.camera).toMatchObject({ zoom: 0.05, x: 100, y: -100 });
  });

  it("leaves at the default what is no number, unknown or broken", () => {
    const texts = ["stop=NaN", "stop=", "stop=Infinity", "stop=1e999", "arrows=abc", "camera=1,2,NaN,0,0", "camera=1,2", "axes=a.b.c", "axes=1.2", "view=none", "means=love", "panel=constructor", "theme=__proto__", "first=yes", "heads=x", "pins=-1", "token=0x10", "%E0%A4%A=1", "stop=%E0%A4%A", "=5", "&&&", "zz=1", "__proto__=1", "stop"];
    for (const text of texts) expect(fromFragment(text, frame, defaults), text).toEqual(defaults);
  });

  it("survives anything", () => {
    const next = random(5);
    const keys = ["run", "stop", "axes", "camera", "heads", "pins", "layer", "token", "over", "arrows", "view"];
    const letters = "0123456789.,-e+&=#%<>\"'/\\NaN∞😀 none";
    for (let i = 0; i < 3000; i++) {
      let text = "";
      for (let k = 0; k < 5; k++) {
        text += `&${keys[Math.floor(next() * keys.length)]}=`;
        for (let j = next() * 12; j > 0; j--) text += letters[Math.floor(next() * letters.length)];
      }
      const got = fromFragment(text, frame, defaults);
      expect(got.stop >= 0 && got.stop <= 8, text).toBe(true);
      expect(Number.isInteger(got.run) && got.run >= 0 && got.run < 2, text).toBe(true);
      expect(got.axes.every((axis) => Number.isInteger(axis) && axis >= 0 && axis < 5), text).toBe(true);
      expect(Object.values(got.camera).every((value) => typeof value === "boolean" || Number.isFinite(value)), text).toBe(true);
      expect(got.token === null || (Number.isInteger(got.token) && got.token >= 0 && got.token < 12), text).toBe(true);
      expect([...got.heads, ...got.pins].every(Number.isInteger), text).toBe(true);
      expect(Object.keys(got)).toEqual(Object.keys(defaults));
    }
    expect(fromFragment("heads=" + "1.".repeat(1e6), frame, defaults).heads).toEqual([1]);
  });
});
