import { describe, expect, it } from "vitest";
import { drawnError, emptyLens, fitAt, fitsOf, lensOf, orbitBy, panBy, placeAt, positionsOf, project, unproject, withToken, zoomAt, type Fit, type Positions } from "../../src/engine";
import type { Camera } from "../../src/types";
import { random, tinyFrame } from "../helpers";

const HOME: Camera = { yaw: 0, pitch: 0, zoom: 1, x: 0, y: 0 };
const FIT: Fit = { centre: [1, 2, 3], half: [4, 2, 1] };
const run = tinyFrame({ tokens: 6, layers: 2 }).frame.runs[0]!;
const view = run.info.views[0]!;

const cloud = (T: number, S: number, at: (s: number, t: number) => [number, number, number]): Positions => {
  const data = new Float32Array(S * T * 4);
  for (let s = 0; s < S; s++) for (let t = 0; t < T; t++) data.set([...at(s, t), 10], (s * T + t) * 4);
  return { stops: S, tokens: T, data };
};

describe("positions", () => {
  it("are the chosen components, and the distance in the view's units", () => {
    const got = positionsOf(run, view, [2, 0, 3]);
    const stored = run.array("position/plain");
    const at = (3 * 6 + 4) * 4;
    expect(Array.from(got.data.subarray(at, at + 3))).toEqual([2, 0, 3].map((c) => stored[(3 * 6 + 4) * 4 + c]));
    expect(got.data[at + 3]).toBeCloseTo(run.array("distance/plain")[3 * 6 + 4]! / view.scale);
  });

  it("count a component chosen twice once", () => {
    const got = positionsOf(run, view, [1, 1, 1]);
    expect(got.data[0]).not.toBe(0);
    expect(Array.from(got.data.subarray(1, 3))).toEqual([0, 0]);
  });

  it("lie on the straight line between two stops", () => {
    const positions = positionsOf(run, view, [0, 1, 2]);
    const lens = lensOf(FIT, { ...HOME, yaw: 0.3, pitch: 0.2 }, 800, 600, emptyLens());
    const [a, b, m] = [2, 3, 2.25].map((time) => placeAt(positions, lens, time, 4, [0, 0, 0]) as number[]);
    for (const i of [0, 1, 2]) expect(m![i]).toBeCloseTo(0.75 * a![i]! + 0.25 * b![i]!, 5);
    expect(placeAt(positions, lens, 99, 4, [0, 0, 0])).toEqual(placeAt(positions, lens, 4, 4, [0, 0, 0]));
    expect(placeAt(positions, lens, -1, 4, [0, 0, 0])).toEqual(placeAt(positions, lens, 0, 4, [0, 0, 0]));
  });
});

describe("the camera", () => {
  it("puts the box's centre in the middle, x to the right and y up, with its sides inside", () => {
    const lens = lensOf(FIT, HOME, 800, 600, emptyLens());
    expect(project(lens, 1, 2, 3, [0, 0, 0]).map((v) => Math.round(v))).toEqual([400, 300, 0]);
    const corner = project(lens, 5, 4, 3, [0, 0, 0]);
    expect(corner[0]).toBeGreaterThan(400);
    expect(corner[1]).toBeLessThan(300);
    expect(corner[0]).toBeLessThanOrEqual(800 - 40);
    expect(corner[1]).toBeGreaterThanOrEqual(40);
    expect((corner[0]! - 400) / 4).toBeCloseTo((300 - corner[1]!) / 2); // the same scale both ways
    expect(project(lens, 1, 2, 4, [0, 0, 0])[2]).toBeGreaterThan(0); // nearer
  });

  it("keeps lengths when it turns", () => {
    const next = random(2);
    for (let i = 0; i < 50; i++) {
      const lens = lensOf(FIT, { ...HOME, yaw: 6 * next() - 3, pitch: 3 * next() - 1.5, zoom: 1 + next() }, 500, 500, emptyLens());
      const [x, y, z] = [next(), next(), next()];
      const p = project(lens, 1 + x, 2 + y, 3 + z, [0, 0, 0]);
      const unit = Math.hypot(lens.rows[8]!, lens.rows[9]!, lens.rows[10]!);
      expect(Math.hypot((p[0]! - 250) / lens.scale, (p[1]! - 250) / lens.scale, p[2]! / unit)).toBeCloseTo(Math.hypot(x, y, z), 6);
    }
  });

  it("goes from pixels back to the space", () => {
    const lens = lensOf(FIT, { yaw: 0.7, pitch: -0.4, zoom: 2, x: 0.1, y: -0.3 }, 640, 480, emptyLens());
    const p = project(lens, 0.3, 1.7, 2.2, [0, 0, 0]);
    unproject(lens, p[0]!, p[1]!, p[2]!).forEach((value, i) => expect(value).toBeCloseTo([0.3, 1.7, 2.2][i]!, 6));
  });

  it("leaves room for what covers the edges", () => {
    const lens = lensOf(FIT, HOME, 800, 600, emptyLens(), { top: 200, right: 0, bottom: 0, left: 100 });
    expect(project(lens, 1, 2, 3, [0, 0, 0]).slice(0, 2).map(Math.round)).toEqual([450, 400]);
    expect(project(lens, 1, 4, 3, [0, 0, 0])[1]).toBeGreaterThan(200);
    expect(project(lens, -3, 2, 3, [0, 0, 0])[0]).toBeGreaterThan(100);
  });

  it("pans by the pixels dragged, and zooms at the pointer", () => {
    const before: Camera = { yaw: 0.2, pitch: 0.1, zoom: 1.7, x: 0.2, y: -0.1 };
    const at = (camera: Camera): number[] => project(lensOf(FIT, camera, 800, 600, emptyLens()), 2, 2.5, 3.5, [0, 0, 0]);
    const [a, b] = [at(before), at(panBy(before, 30, -12, 800))];
    expect(b[0]! - a[0]!).toBeCloseTo(30);
    expect(b[1]! - a[1]!).toBeCloseTo(-12);
    const zoomed = zoomAt(before, 2.5, a[0]!, a[1]!, 800, 600);
    expect(zoomed.zoom).toBeCloseTo(4.25);
    expect(at(zoomed)[0]).toBeCloseTo(a[0]!);
    expect(at(zoomed)[1]).toBeCloseTo(a[1]!);
    const insets = { top: 90, right: 20, bottom: 10, left: 0 };
    const inset = (camera: Camera): number[] => project(lensOf(FIT, camera, 800, 600, emptyLens(), insets), 2, 2.5, 3.5, [0, 0, 0]);
    const c = inset(before);
    expect(inset(zoomAt(before, 2.5, c[0]!, c[1]!, 800, 600, insets))[0]).toBeCloseTo(c[0]!);
    expect(inset(zoomAt(before, 2.5, c[0]!, c[1]!, 800, 600, insets))[1]).toBeCloseTo(c[1]!);
    expect(zoomAt(before, 1e9, 0, 0, 800, 600).zoom).toBe(200);
  });

  it("turns within limits", () => {
    expect(orbitBy(HOME, 600, 0).yaw).toBeCloseTo(Math.PI);
    expect(Math.abs(orbitBy({ ...HOME, yaw: 3 }, 300, 0).yaw)).toBeLessThanOrEqual(Math.PI);
    expect(orbitBy(HOME, 0, 1e5).pitch).toBeCloseTo(Math.PI / 2);
  });
});

describe("what the picture fits", () => {
  const quiet = cloud(10, 3, (s, t) => [t * (s + 1), t % 2, 0]);

  it("all stops together, or each with the one before; never the sink, nor who is far out", () => {
    const loud = cloud(10, 3, (s, t) => (t === 0 ? [500, 0, 0] : t === 5 && s === 1 ? [0, 900, 0] : [t * (s + 1), t % 2, 0]));
    for (const positions of [quiet, loud]) {
      const { whole, stops } = fitsOf([positions]);
      expect(whole.centre[0] - whole.half[0]).toBeCloseTo(1);
      expect(whole.centre[0] + whole.half[0]).toBeCloseTo(27);
      expect(whole.half[1]).toBeLessThan(5);
      const edges = stops.map((fit) => [fit.centre[0] - fit.half[0], fit.centre[0] + fit.half[0]].map((v) => Number(v.toFixed(4))));
      expect(edges).toEqual([[1, 9], [1, 18], [2, 27]]);
    }
  });

  it("with tokens left out by the projection, and with one asked for", () => {
    const { whole, stops } = fitsOf([quiet], [9, 8]);
    expect(whole.centre[0] + whole.half[0]).toBeCloseTo(21);
    const more = withToken({ whole, stops }, quiet, 9);
    expect(more.whole.centre[0] + more.whole.half[0]).toBeCloseTo(27);
    expect(more.stops[0]!.centre[0] + more.stops[0]!.half[0]).toBeCloseTo(9);
  });

  it("even where there is little: one token, all in one place, nothing at all", () => {
    expect(fitsOf([cloud(1, 2, (s) => [s, s, s])]).whole.half[0]).toBeCloseTo(0.5);
    const same = fitsOf([cloud(5, 2, () => [1, 1, 1])]);
    expect(same.whole.half.every((half) => half > 0)).toBe(true);
    expect(fitsOf([cloud(5, 2, () => [NaN, NaN, NaN])]).stops[1]!.half.every((half) => half > 0)).toBe(true);
  });

  it("between stops in between", () => {
    const { stops } = fitsOf([quiet]);
    const fit = fitAt(stops, 1.5, { centre: [0, 0, 0], half: [0, 0, 0] });
    expect(fit.centre[0]).toBeCloseTo((stops[1]!.centre[0] + stops[2]!.centre[0]) / 2);
    expect(fit.half[0]).toBeCloseTo(Math.sqrt(stops[1]!.half[0] * stops[2]!.half[0]));
    expect(fitAt(stops, 9, fit).half).toEqual(stops[2]!.half);
  });
});

describe("the error of what is drawn", () => {
  it("is 0 where all of the distance is drawn, 1 where none", () => {
    const positions = cloud(3, 1, (_, t) => (t === 0 ? [10, 0, 0] : t === 1 ? [0, 0, 0] : [0, 6, 8]));
    expect(drawnError(positions, 0, 0)).toBe(0);
    expect(drawnError(positions, 0, 1)).toBe(1);
    expect(drawnError(positions, 0, 2)).toBe(0);
    expect(drawnError(positions, 0, 2, HOME)).toBeCloseTo(0.8); // depth is not seen
    expect(drawnError(positions, 0, 2, { yaw: 0, pitch: Math.PI / 2 })).toBeCloseTo(0.6); // from above, height is not
  });
});
