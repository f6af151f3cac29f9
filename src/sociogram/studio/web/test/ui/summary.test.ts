import { describe, expect, it } from "vitest";
import { Store } from "../../src/store";
import { summaryOf } from "../../src/ui/live";
import { arrowsLine, auditLine, hiddenLine, projectionLine, streamedLine } from "../../src/ui/honesty";
import { caption } from "../../src/ui/summary";
import { tinyFrame } from "../helpers";

function store(options: Parameters<typeof tinyFrame>[0] = {}, initial: Store["defaults"] | object = {}): Store {
  return new Store(tinyFrame(options).frame, { initial });
}

describe("the layer in words", () => {
  it("says who moved, by whom, through which head", () => {
    const page = store();
    const [top] = page.selection.value.edges;
    const run = page.run.value;
    const [key, head] = [run.array("edge/key")[top!]!, run.array("edge/head")[top!]!];
    const text = summaryOf(page);
    expect(text).toMatch(/^After attention in layer \d of 3: ‘the’ moved [\d.]+; loudest was ‘/);
    expect(text).toContain(`loudest was ‘${run.info.tokens[key]!.trim()}’, through head ${head}`);
    expect(text).toContain("Nearest in the full space");
    const { edges, hidden } = page.selection.value;
    expect(text).toContain(`${edges.length} arrows of ${edges.length + hidden}`);
  });
  it("speaks of the largest move where no token is chosen", () => {
    const page = store({}, { token: null });
    expect(summaryOf(page)).toMatch(/moved most, [\d.]+; loudest was/);
  });
  it("says that an MLP listens to nobody, and that nothing was said before the first layer", () => {
    const page = store();
    page.go(2);
    expect(caption(page.run.value, page.state(), 2)).toContain("by itself: the MLP reads one token at a time");
    expect(summaryOf(page)).toContain("No arrows.");
    page.go(0);
    expect(summaryOf(page)).toMatch(/^Before the first layer: ‘the’, before anyone has said anything/);
  });
  it("keeps hostile tokens as text", () => {
    const page = store({ tokens: ["<s>", "</script>", "<img src=x onerror=alert(1)>", "\u202ex"] });
    expect(summaryOf(page)).toContain("‘⟨202E⟩x’ moved");
  });
  it("owns up to a layer whose account is not known", () => {
    const page = store({ opaque: [0, 1, 2] });
    page.go(1);
    expect(summaryOf(page)).toContain("nothing that it heard here is known");
  });
});

describe("the honest lines", () => {
  it("count what is drawn, hidden and left out", () => {
    const page = store();
    const { edges, shown, total, hidden } = page.selection.value;
    expect(arrowsLine(page)).toBe(`${edges.length} arrows of ${edges.length + hidden} to or from ‘the’: ${Math.round((100 * shown) / total!)}\u202f% of their message norm.`);
    expect(hiddenLine(page)).toMatch(/^Hidden: what the first token said \(\d+\u202f% of the layer’s message norm\), what tokens told themselves \(\d+\u202f%\)\.$/);
    page.set({ first: true, itself: true });
    expect(hiddenLine(page)).toBe("");
  });
  it("say at least, where the frame does not hold everything", () => {
    const page = store({ tokens: 12, keep: 40 });
    expect(page.selection.value.counted).toBe("shipped");
    expect(arrowsLine(page)).toContain("at least");
    expect(arrowsLine(page)).toContain("at most");
    const bare = store({ tokens: 12, keep: 1 }, { token: 5 });
    expect(arrowsLine(bare)).toBe("Of what is said to or from ‘the’, nothing is in this file.");
  });
  it("compare the drawn plane with chance", () => {
    const page = store();
    expect(projectionLine(page)).toMatch(/^This plane keeps 60\u202f% of the variance of all stops \(a matched random walk: 20\u202f%\); at this stop \d+\u202f% of a point’s distance/);
    page.set({ view: "centred" });
    expect(projectionLine(page)).not.toContain("random walk");
    expect(auditLine(page)).toBe("Account closed to 1.0e−6, null drift 1.0e−7");
  });
  it("say of a streamed recording where its arrows come from and what was checked", () => {
    const page = store({ streamed: { top: 4, by: "message" } });
    expect(streamedLine(page.info.value)).toBe(
      "Streamed: arrows are among the 4 strongest keys (by message norm) of each reader and head, sums count all. Messages and attention only: other meanings need every weight.",
    );
    expect(streamedLine(store({ streamed: { top: 1, by: "attention" } }).info.value)).toContain("among the strongest key (by attention) of");
    expect(streamedLine(store().info.value)).toBe("");
    expect(auditLine(page)).toBe("Account closed: 1.0e−6, 16 tokens checked while recording, null drift 1.0e−7");
    expect(page.info.value.meanings.map((meaning) => meaning.name)).toEqual(["message", "attention"]);
  });
  it("do not claim arrows after an MLP", () => {
    const page = store();
    page.go(2);
    expect(arrowsLine(page)).toContain("No arrows here");
  });
});
