import { describe, expect, it } from "vitest";
import { along, area, line, range, stopAt, up } from "../../src/ui/strip";
import { stepLayer, stepStop, stopName, stopOfLayer, stopShape } from "../../src/ui/stops";
import { tinyFrame } from "../helpers";

describe("the strip's scales", () => {
  it("spans all series with some air, and survives nulls and constants", () => {
    expect(range([[0, 1], [null, 2]])).toEqual({ low: -0.12, high: 2.12 });
    expect(range([[null], []])).toEqual({ low: 0, high: 1 });
    expect(range([[3, 3]])).toEqual({ low: 2.5, high: 3.5 });
  });
  it("puts stops in the middle of their slots and finds them again", () => {
    for (let stop = 0; stop < 61; stop++) expect(stopAt(along(stop, 61, 733), 61, 733)).toBe(stop);
    expect(stopAt(-5, 61, 733)).toBe(0);
    expect(stopAt(9999, 61, 733)).toBe(60);
  });
  it("goes upwards", () => {
    expect(up(0, { low: 0, high: 2 }, 40)).toBe(40);
    expect(up(2, { low: 0, high: 2 }, 40)).toBe(0);
  });
  it("breaks lines and bands where a value does not exist", () => {
    const band = { low: 0, high: 1 };
    expect(line([0, null, 1, 1], band, 40, 10)).toBe("M5.0 10.0M25.0 0.0L35.0 0.0");
    expect(area([0, null, 0], [1, 1, 1], band, 30, 10).match(/M/g)).toHaveLength(2);
    expect(area([null], [null], band, 30, 10)).toBe("");
  });
});

describe("stops", () => {
  const info = tinyFrame({ layers: 3, opaque: [1] }).frame.runs[0]!.info; // input, 0a, 0m, 1, 2a, 2m
  it("have names and shapes of their own", () => {
    expect(stopName(info.stops[0])).toBe("Before the first layer");
    expect(stopName(info.stops[1])).toBe("Layer 0 · after attention");
    expect(info.stops.map(stopShape)).toEqual(["start", "disc", "square", "diamond", "disc", "square"]);
  });
  it("step by layers, keeping the half-step where there is one", () => {
    expect(stepLayer(info, 1, 1)).toBe(3);
    expect(stepLayer(info, 3, 1)).toBe(4);
    expect(stepLayer(info, 2, -1)).toBe(0);
    expect(stepLayer(info, 5, 1)).toBe(5);
    expect(stepLayer(info, 0, 1)).toBe(1);
    expect(stepLayer(info, 0, -1)).toBe(0);
    expect(stepStop(info, 5, 1)).toBe(5);
    expect(stopOfLayer(info, 1)).toBe(3);
  });
});
