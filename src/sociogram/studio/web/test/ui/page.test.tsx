// @vitest-environment happy-dom
import { afterEach, describe, expect, it } from "vitest";
import { mount, type Mounted } from "../../src/main";
import { num } from "../../src/ui/text";
import { sizeColour } from "../../src/ui/colour";
import { headTotals, kindsOf } from "../../src/engine";
import { stretch } from "../../src/ui/arcs";
import { cellShare } from "../../src/ui/heads";
import { bigFrame } from "../big";
import { tinyFrame, type TinyOptions } from "../helpers";
import type { State } from "../../src/types";

const pages: Mounted[] = [];
async function page(options: TinyOptions = {}, initial: Partial<State> = {}, more = {}): Promise<{ element: HTMLElement } & Mounted> {
  const element = document.createElement("div");
  document.body.append(element);
  const mounted = await mount(element, tinyFrame(options).bytes, { initial, ...more });
  pages.push(mounted);
  return { element, ...mounted };
}
const soon = (): Promise<void> => new Promise((done) => setTimeout(done, 30));
const all = (element: Element, selector: string): HTMLElement[] => [...element.querySelectorAll<HTMLElement>(selector)];
const press = (key: string, more: KeyboardEventInit = {}): boolean => (document.activeElement ?? document.body).dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true, ...more }));

afterEach(() => {
  pages.splice(0).forEach((one) => one.dispose());
  document.body.replaceChildren();
});

describe("the page", () => {
  it("shows hostile tokens as text", async () => {
    const tokens = ["<s>", "</script>", " <img src=x onerror=alert(1)>", "\u202eevil", "<svg onload=alert(1)>", "\u0000"];
    for (const panel of ["table", "arcs", "reach", "flock"] as const) {
      const { element } = await page({ tokens, toward: "<b>x</b>" }, { panel, help: true });
      expect(all(element, "img, script, [onload], [onerror], b > x")).toEqual([]);
      expect(element.textContent).toContain("<img src=x onerror=");
      expect(all(element, "[style*=expression]")).toEqual([]);
    }
  });
  it("has no ids twice, however many there are", async () => {
    await page({}, { panel: "table", help: true });
    await page({ runs: 2 }, { panel: "reach" });
    const ids = all(document.body, "[id]").map((element) => element.id);
    expect(new Set(ids).size).toBe(ids.length);
    const names = all(document.body, "input[type=radio]").map((element) => element.getAttribute("name"));
    expect(new Set(names).size).toBe(4); // which picture and which meaning, in each
  });
  it("listens to keys while it is alone or has the focus", async () => {
    const one = await page({}, { panel: "table" });
    await soon();
    press("f");
    expect(one.store.s.first.value).toBe(true);
    const two = await page({}, { panel: "table" });
    await soon();
    press("f");
    expect([one.store.s.first.value, two.store.s.first.value]).toEqual([true, false]);
    all(two.element, "[data-token]")[2]!.focus();
    press("f");
    expect([one.store.s.first.value, two.store.s.first.value]).toEqual([true, true]);
  });
  it("tells of the token that is chosen now, in the same layer too", async () => {
    const { element, store } = await page({ tokens: 12, layers: 2 }, { panel: "table", token: 11 });
    await soon();
    const side = (): string[] => all(element, ".sg-details .sg-section").map((section) => section.textContent ?? "");
    const fresh = async (token: number): Promise<string[]> => {
      const other = await page({ tokens: 12, layers: 2 }, { panel: "table", token, stop: store.s.stop.peek() });
      await soon();
      return all(other.element, ".sg-details .sg-section").map((section) => section.textContent ?? "");
    };
    for (const token of [4, 7, 5]) {
      store.choose(token);
      await soon();
      expect(side()).toEqual(await fresh(token));
    }
  });
  it("marks where the prompt ends and the model's own tokens begin", async () => {
    const { element, store } = await page({ tokens: 8, prompt: 5 }, { panel: "arcs", token: 6 });
    await soon();
    expect(all(element, ".sg-begins").map((chip) => chip.dataset.token)).toEqual(["5"]);
    expect(all(element, ".sg-chip.sg-written")).toHaveLength(3);
    expect(element.querySelector(".sg-brand")!.textContent).toContain("5 tokens read, 3 written");
    expect(element.querySelector(".sg-title")!.textContent).toContain("token 6, written");
    expect(all(element, ".sg-ground")).toHaveLength(1);
    store.choose(null);
    store.s.panel.value = "reach";
    await soon();
    expect(all(element, ".sg-ground")).toHaveLength(1);
    expect(element.querySelector(".sg-details")!.textContent).toContain("5 tokens read, 3 written by the model.");
    const plain = await page({ tokens: 8 }, { panel: "arcs" });
    await soon();
    expect(all(plain.element, ".sg-written, .sg-begins, .sg-ground")).toEqual([]);
  });
  it("shows what was heard from outside and what was edited", async () => {
    const { element } = await page({ moves: ["from_outside", "edited"] }, { panel: "table" });
    await soon();
    expect(all(element, ".sg-moves dt").map((part) => part.textContent)).toEqual(["others", "itself", "outside", "MLP", "edits", "the rest", "all in all"]);
    const head = all(element, "th").map((cell) => cell.textContent);
    expect(head).toContain("from outside");
    expect(head).toContain("by edits");
    expect(head).not.toContain("by the other sequence");
  });
  it("says what is wrong instead of showing nothing", async () => {
    const element = document.createElement("div");
    document.body.append(element);
    await expect(mount(element, "bm90IGEgZnJhbWU=")).rejects.toThrow();
    expect(element.querySelector("[role=alert]")!.textContent).toMatch(/This page cannot be shown.+gzip/);
  });
  it("names every control", async () => {
    const { element, store } = await page({ runs: 2 }, { panel: "flock", help: true });
    for (const side of ["token", "heads", "settings"] as const) {
      store.side.value = side;
      await soon();
      for (const control of all(element, "button, input, select, [role=grid], [role=slider]")) {
        const label = control.getAttribute("aria-label") ?? control.getAttribute("aria-labelledby") ?? control.closest("label")?.textContent ?? (control.id ? element.querySelector(`label[for="${control.id}"]`)?.textContent : null) ?? control.textContent;
        expect(label?.trim(), control.outerHTML.slice(0, 200)).toBeTruthy();
      }
    }
  });
});

describe("odd recordings", () => {
  const kinds: [string, TinyOptions][] = [
    ["one token", { tokens: 1 }],
    ["two tokens", { tokens: 2, layers: 1, heads: 1 }],
    ["no account anywhere", { opaque: [0, 1, 2] }],
    ["no words, both ways, in one step", { words: false, causal: false, parallel: true }],
    ["an excerpt", { tokens: 14, keep: 2 }],
    ["two to compare", { runs: 2, toward: "#12" }],
    ["nothing it was made from", { text: null }],
  ];
  it.each(kinds)("are shown: %s", async (_, options) => {
    const { element, store } = await page(options, { itself: true });
    for (const panel of ["flock", "arcs", "reach", "table"] as const) {
      for (const side of ["token", "heads", "settings"] as const) {
        store.set({ panel, stop: store.info.value.stops.length - 1 });
        store.side.value = side;
        for (const token of [store.info.value.tokens.length - 1, null]) {
          store.set({ token });
          for (let stop = 0; stop < store.info.value.stops.length; stop += 2) store.go(stop);
          await new Promise((done) => setTimeout(done, 0));
          expect(element.textContent).not.toMatch(/undefined|NaN|\[object|Infinity/);
        }
      }
    }
    store.dialog.value = "code";
    store.swap();
    await new Promise((done) => setTimeout(done, 0));
    expect(element.querySelector("dialog pre")!.textContent).toContain("import sociogram as sg");
  });
});

describe("table twins", () => {
  it("show the numbers of what is drawn", async () => {
    const { element, store, probe } = await page({ toward: " mat" }, { panel: "table", arrows: 7 });
    const table = all(element, ".sg-tables table")[0]!;
    const rows = all(table, "tbody tr").map((row) => all(row, "td").map((cell) => cell.textContent!.trim()));
    const edges = probe.edges();
    expect(rows).toHaveLength(7);
    rows.forEach((row, i) => {
      const edge = edges[i]!;
      expect(row[0]).toBe(String(edge.layer));
      expect(row[1]).toBe(String(edge.head));
      expect(row[2]).toContain(String(edge.key));
      expect(row[3]).toContain(String(edge.query));
      expect(row[4]).toBe(num(edge.attention));
      expect(row[6]).toBe(num(edge.message));
    });
    store.set({ meaning: "attention", arrows: 3 });
    await soon();
    expect(all(all(element, ".sg-tables table")[0]!, "tbody tr")).toHaveLength(3);
  });
  it("say how many rows are left out", async () => {
    const { element } = await page({ tokens: 230, layers: 1, heads: 1, neighbours: 1 }, { panel: "table", arrows: 3000, token: null });
    const said = all(element, ".sg-tables .sg-section").map((section) => section.textContent!);
    expect(said[0]).toMatch(/[\d,]+ rows left out: at most 200 are shown/);
    expect(said[1]).toContain("30 rows left out");
    expect(all(element, ".sg-tables tbody tr").length).toBeLessThan(900);
  });
  it("have captions and headings", async () => {
    const { element } = await page({}, { panel: "table" });
    for (const table of all(element, "table")) {
      expect(table.querySelector("caption")?.textContent).toBeTruthy();
      expect(all(table, "thead th[scope=col]").length).toBeGreaterThan(1);
    }
  });
});

describe("the heads", () => {
  it("are coloured by how much they say, and can be walked", async () => {
    const { element, store } = await page({ heads: 3, layers: 4, opaque: [2] }, { panel: "table" });
    store.side.value = "heads";
    await soon();
    const totals = headTotals(store.run.value, "message", null, kindsOf({ first: false, itself: false }));
    const largest = Math.max(...[...totals].filter((value) => !Number.isNaN(value)));
    const cell = (layer: number, head: number): HTMLElement => element.querySelector(`[data-cell="${layer}:${head}"]`)!;
    for (const [layer, head] of [[0, 0], [1, 2], [3, 1]] as const) {
      expect(cell(layer, head).style.background).toBe(sizeColour(cellShare(totals[layer * 3 + head]!, largest)));
      expect(cell(layer, head).getAttribute("aria-label")).toContain(num(totals[layer * 3 + head]));
    }
    expect(cell(2, 0).getAttribute("aria-label")).toContain("no account");
    expect(all(element, '[role=gridcell][tabindex="0"]')).toHaveLength(1);
    const now = store.layer.value!;
    cell(now, 0).focus();
    press("ArrowRight");
    await soon();
    expect(document.activeElement).toBe(cell(now, 1));
    expect(store.hoverHead.value).toEqual({ layer: now, head: 1 });
    (document.activeElement as HTMLElement).click();
    await soon();
    expect(store.s.heads.value).toEqual([1]);
    expect(cell(now, 1).getAttribute("aria-selected")).toBe("true");
  });
  it("have colours from dark to bright", () => {
    expect(sizeColour(0)).toBe("rgb(0, 34, 78)");
    expect(sizeColour(1)).toBe("rgb(254, 232, 56)");
    expect(sizeColour(NaN)).toBe(sizeColour(0));
    expect(cellShare(4, 16)).toBe(0.5);
    expect(cellShare(NaN, 16)).toBeNaN();
    expect(cellShare(0, 0)).toBe(0);
  });
});

describe("long prompts", () => {
  it("show the stretch of tokens that arrows touch", () => {
    const rows = [{ query: 5000, key: 4980 }, { query: 5000, key: 4900 }];
    expect(stretch(8192, rows, [5000])).toEqual([4891, 5009]);
    expect(stretch(8192, [{ query: 3, key: 1 }], [8191])).toEqual([0, 8191]);
    expect(stretch(8192, [], [])).toEqual([0, 8191]);
    expect(stretch(500, rows, [])).toEqual([0, 499]);
  });
  it("show a page of chips and turn it", async () => {
    const element = document.createElement("div");
    document.body.append(element);
    const mounted = await mount(element, bigFrame({ tokens: 700, layers: 1, heads: 1, edges: 50 }), { initial: { panel: "table", token: 650 } });
    pages.push(mounted);
    const { store } = mounted;
    expect(all(element, "[data-token]")).toHaveLength(100);
    expect(element.textContent).toContain("600 before");
    store.choose(0);
    await soon();
    expect(all(element, "[data-token]")).toHaveLength(300);
    expect(element.textContent).toContain("400 more");
  });
});
