import { describe, expect, it } from "vitest";
import { frameOf, pathFrom, reach } from "../../src/engine";
import type { Run } from "../../src/types";
import { tinyFrame } from "../helpers";

/** Three layers, four tokens, one head, these edges alone: [layer, reader, sender, size]; `heard` is what readers heard in all. */
function example(edges: [number, number, number, number][], heard: (layer: number, reader: number) => [number, number, number], status: string[] = ["closed", "closed", "closed"]): Run {
  const { header, arrays } = tinyFrame({ tokens: 4, layers: 3, heads: 2 });
  const E = edges.length;
  const column = (i: 0 | 1 | 2): Uint16Array => Uint16Array.from(edges, (edge) => edge[i]);
  const replaced: Record<string, Float32Array | Uint16Array | Uint32Array> = {
    "0/edge/layer": column(0),
    "0/edge/query": column(1),
    "0/edge/key": column(2),
    "0/edge/head": Uint16Array.from(edges, (_, i) => i % 2),
    "0/edge/message": Float32Array.from(edges, (edge) => edge[3]),
    "0/edge/attention": new Float32Array(E),
    "0/edge/contribution": new Float32Array(E),
    "0/edge/pull": new Float32Array(E),
    "0/total_reader/message": Float32Array.from([0, 1, 2].flatMap((l) => [0, 1, 2, 3].flatMap((t) => heard(l, t)))),
  };
  const order = edges.map((_, i) => i).sort((a, b) => edges[a]![0] - edges[b]![0] || edges[b]![3] - edges[a]![3]);
  for (const name of ["message", "attention", "contribution"]) {
    replaced[`0/rank/${name}`] = Uint32Array.from(order);
    replaced[`0/rank_start/${name}`] = Uint32Array.from([0, 1, 2, 3], (l) => edges.filter((edge) => edge[0] < l).length);
  }
  for (const [name, data] of Object.entries(replaced)) header.arrays[name]!.shape = name.includes("rank_start") || name.includes("total") ? header.arrays[name]!.shape : [data.length];
  header.runs[0]!.layers.forEach((layer, l) => (layer.status = status[l] as "closed"));
  header.runs[0]!.words = null;
  return frameOf(header, (name) => replaced[name] ?? arrays[name]!.data).runs[0]!;
}

// by hand: 3 heard 2 in the last layer, 2 heard 1 in the middle one, 1 heard 0 in the first; 3 also heard 1 faintly at once
const EDGES: [number, number, number, number][] = [
  [2, 3, 2, 4],
  [2, 3, 1, 0.5],
  [1, 2, 1, 5],
  [1, 1, 2, 9], // reader 1 is reached only through the faint edge or below
  [0, 1, 0, 3],
  [0, 2, 2, 7], // to itself
];
const heard = (): [number, number, number] => [6, 2, 2]; // ten in all, each reader and layer
const all = { meaning: "message" as const, first: true };

describe("reach", () => {
  it("goes back layer by layer, as by hand", () => {
    const found = reach(example(EDGES, heard), all, 3, 0.1);
    expect(found.layers.map((layer) => layer.above)).toEqual([[1, 2, 3], [2, 3], [3]]);
    expect(found.layers.map((layer) => layer.reached)).toEqual([[0, 1, 2, 3], [1, 2, 3], [2, 3]]);
    expect(found.layers.map((layer) => layer.steps.map((step) => [step.sender, step.reader, step.edges]))).toEqual([[[0, 1, [4]]], [[1, 2, [2]]], [[2, 3, [0]]]]);
    expect(Array.from(found.strength).map((s) => Number(s.toFixed(6)))).toEqual([0.06, 0.2, 0.4, 1]); // 0.3 x 0.5 x 0.4, 0.5 x 0.4, 0.4, itself
    expect(pathFrom(found, 0)!.map((step) => [step.layer, step.sender, step.reader])).toEqual([[0, 0, 1], [1, 1, 2], [2, 2, 3]]);
    expect(pathFrom(found, 3)).toEqual([]);
  });

  it("takes the strongest path, not the shortest, and lets go of what is below the threshold", () => {
    const found = reach(example(EDGES, heard), all, 3, 0.01);
    expect(found.layers[2]!.reached).toEqual([1, 2, 3]); // the faint edge counts now
    expect(pathFrom(found, 1)!.map((step) => step.layer)).toEqual([1, 2]); // 0.2 through 2 beats 0.05 at once
    expect(found.strength[1]).toBeCloseTo(0.2);
    // through the faint edge 2 could be heard by 1, but 0.9 x 0.05 is less than 0.4
    expect(found.layers[1]!.steps).toHaveLength(2);
    expect(found.strength[2]).toBeCloseTo(0.4);
    const none = reach(example(EDGES, heard), all, 3, 0.41);
    expect(none.layers[0]!.reached).toEqual([3]);
    expect(pathFrom(none, 2)).toBeNull();
  });

  it("takes heads together", () => {
    const found = reach(example([[2, 3, 2, 0.6], [2, 3, 2, 0.5]], heard), all, 3, 0.1);
    expect(found.layers[2]!.steps).toHaveLength(1);
    expect(found.layers[2]!.steps[0]).toMatchObject({ share: expect.closeTo(0.11), edges: [0, 1] });
  });

  it("leaves the first token out when asked, but counts shares of all that was heard", () => {
    const found = reach(example(EDGES, heard), { ...all, first: false }, 3, 0.1);
    expect(found.layers[0]!.reached).toEqual([1, 2, 3]);
    expect(found.strength[0]).toBe(0);
    expect(found.strength[2]).toBeCloseTo(0.4);
  });

  it("says how much of it is shipped, and where nothing is known", () => {
    // layer 2: reader 3 heard 8 of others, 4.5 of it is here; layer 1: readers 2, 3 heard 16, 5; layer 0: readers 1, 2, 3 heard 24, 3
    const found = reach(example(EDGES, heard), all, 3, 0.1);
    expect(found.layers.map((layer) => layer.covered)).toEqual([3 / 24, 5 / 16, 4.5 / 8].map((share) => expect.closeTo(share, 6)));
    expect(found.covered).toBeCloseTo(12.5 / 48);
    expect(found.unknown).toBe(0);
    const gap = reach(example(EDGES, heard, ["closed", "opaque", "closed"]), all, 3, 0.1);
    expect(gap.layers[1]).toMatchObject({ known: false, steps: [], reached: [2, 3], covered: null });
    expect(gap.layers[0]!.reached).toEqual([2, 3]);
    expect(gap.unknown).toBe(1);
  });
});
