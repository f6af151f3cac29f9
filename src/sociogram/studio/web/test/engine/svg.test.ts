// @vitest-environment happy-dom
import { describe, expect, it } from "vitest";
import { along, arrowShape, createRenderer, defaultState, emptyArrow, lean, pullColour, rgb, hex, select, SVG_ARROWS, SvgRenderer, toSvgText, widest } from "../../src/engine";
import type { Palette, Scene, State } from "../../src/types";
import { tinyFrame, type TinyOptions } from "../helpers";

const colours: Palette = { background: "#ffffff", ink: "#111111", faint: "#cccccc", point: "#3355aa", chosen: "#aa2200", ghost: "#999999", attract: "#b35806", neutral: "#888888", repel: "#6a4aa0" };

function sceneOf(options: TinyOptions = {}, change: Partial<State> = {}, more: Partial<Scene> = {}) {
  const { frame } = tinyFrame({ tokens: 8, ...options });
  const run = frame.runs[0]!;
  const other = frame.runs[1] ?? null;
  const state = { ...defaultState(frame), ...change };
  const scene: Scene = {
    time: state.stop,
    view: run.info.views[0]!,
    axes: state.axes,
    camera: state.camera,
    selection: select(run, state),
    meaning: state.meaning,
    first: state.first,
    itself: state.itself,
    token: state.token,
    hover: null,
    pins: state.pins,
    ghosts: state.ghosts,
    labels: [],
    colours,
    ...more,
  };
  return { run, other, state, scene };
}

const within = (options: TinyOptions = {}, change: Partial<State> = {}, more: Partial<Scene> = {}) => {
  const { run, other, scene, state } = sceneOf(options, change, more);
  const host = document.createElement("div");
  document.body.append(host);
  const renderer = new SvgRenderer(host);
  renderer.setRun(run, other);
  renderer.resize(800, 500, 1);
  renderer.draw(scene);
  const count = (selector: string): number => host.querySelectorAll(selector).length;
  const group = (n: number): Element => host.querySelector("svg")!.children[n + 1]!; // after the ground
  return { run, scene, state, host, renderer, count, group };
};
// the groups, as svg.ts has them
const [DEFS, , GHOSTS, IDLE, PATHS, ARROWS, RINGS, POINTS, LABELS, COMPASS] = Array.from({ length: 10 }, (_, i) => i);

describe("the SVG renderer", () => {
  it("draws every visible point once, the sink only when asked for", () => {
    const off = within();
    const spots = (scene: ReturnType<typeof within>): number => new Set([...scene.group(IDLE!).children, ...scene.group(POINTS!).children].map((one) => `${one.getAttribute("cx")},${one.getAttribute("cy")}${one.getAttribute("d")}`)).size;
    expect(spots(off)).toBe(7);
    const on = within({}, { first: true });
    expect(on.group(POINTS!).querySelectorAll("path").length + on.group(IDLE!).querySelectorAll("path").length).toBe(1); // its own shape
    expect(spots(on)).toBe(8);
    expect(off.renderer.place(0)).toBeNull();
    expect(on.renderer.place(0)).not.toBeNull();
  });

  it("draws the selected arrows, in the order of their strength, coloured by pull", () => {
    const { scene, run, group, count } = within({}, { token: null, arrows: 5 });
    expect(scene.selection.edges).toHaveLength(5);
    expect(count("linearGradient")).toBe(5);
    expect(group(ARROWS!).children).toHaveLength(10); // each with its casing
    const last = group(DEFS!).lastElementChild!.querySelector("stop")!.getAttribute("stop-color");
    expect(last).toBe(hex(pullColour(run.array("edge/pull")[scene.selection.edges[0]!]!, colours)));
  });

  it("draws messages to itself as rings", () => {
    const { group, scene, run } = within({}, { token: null, itself: true, arrows: 60 });
    const own = Array.from(scene.selection.edges).filter((e) => run.array("edge/query")[e] === run.array("edge/key")[e]).length;
    expect(own).toBeGreaterThan(3);
    expect(group(RINGS!).children).toHaveLength(own);
    expect(group(ARROWS!).children).toHaveLength(2 * (scene.selection.edges.length - own));
  });

  it("draws the path of the chosen and of pins, with discs after attention and squares after MLPs", () => {
    const { group } = within({ layers: 3 }, { token: 5, pins: [3, 5], stop: 3 });
    expect(group(PATHS!).querySelectorAll("rect")).toHaveLength(2 * 3);
    expect(group(PATHS!).querySelectorAll("circle")).toHaveLength(2 * 4); // and the ring at the input
    const dotted = [...group(PATHS!).querySelectorAll("line")].filter((line) => line.hasAttribute("stroke-dasharray"));
    expect(dotted).toHaveLength(2 * 3); // what is still to come
    expect(within({}, { token: null }).group(PATHS!).children).toHaveLength(0);
  });

  it("draws the other recording as ghosts", () => {
    expect(within({ runs: 2 }, { ghosts: true }).group(GHOSTS!).querySelectorAll("circle")).toHaveLength(7);
    expect(within({ runs: 2 }, { ghosts: false }).group(GHOSTS!).children).toHaveLength(0);
    expect(within({ runs: 1 }, { ghosts: true }).group(GHOSTS!).children).toHaveLength(0);
  });

  it("writes texts as texts only, beside their points", () => {
    const text = "<img src=x onerror=alert(1)>";
    const { host, group, renderer } = within({}, {}, { labels: [{ token: 3, text, opacity: 1, strong: false, word: "</script>", wordOpacity: 0.5 }] });
    expect(host.querySelector("img")).toBeNull();
    expect(group(LABELS!).textContent).toBe(`${text} → </script>`);
    const [x, y] = renderer.place(3)!;
    const label = group(LABELS!).firstElementChild!;
    expect(Number(label.getAttribute("x"))).toBeGreaterThan(x);
    expect(Math.abs(Number(label.getAttribute("y")) - y)).toBeLessThan(10);
    expect(group(COMPASS!).textContent).toContain("PC1 40 %");
  });

  it("keeps its elements from picture to picture, and forgets what is gone", () => {
    const { renderer, scene, run, state, count, group } = within({}, { token: null, arrows: 8 });
    const first = group(POINTS!).firstElementChild;
    renderer.draw({ ...scene, time: scene.time - 0.5 });
    expect(group(POINTS!).firstElementChild).toBe(first);
    renderer.draw({ ...scene, selection: select(run, { ...state, arrows: 2 }) });
    expect(count("linearGradient")).toBe(2);
    expect(renderer.lastFrameMs).toBeGreaterThan(0);
    renderer.dispose();
    expect(count("svg")).toBe(0);
  });

  it("finds the token under the pointer", () => {
    const { renderer } = within();
    for (const token of [1, 4, 7]) {
      const [x, y] = renderer.place(token)!;
      expect(renderer.pick(x + 0.5, y - 0.5, 4)).toBe(token);
    }
    expect(renderer.pick(-500, -500, 20)).toBeNull();
  });

  it("grows arrows on the way to their stop, lets them fade after it, and keeps held ones", () => {
    const shown = (time: number, change: Partial<State> = {}): { length: number; d: string } => {
      const { run, state, scene, renderer, group } = within({}, { token: null, arrows: 1, stop: 3, ...change });
      renderer.draw({ ...scene, time, camera: { ...scene.camera, follow: false }, selection: select(run, { ...state, stop: Math.ceil(time) === 4 ? 3 : Math.ceil(time) }) });
      const paths = group(ARROWS!).querySelectorAll("path");
      return { length: paths.length, d: paths[0]?.getAttribute("d") ?? "" };
    };
    expect(shown(3).length).toBe(2);
    expect(shown(2.3).d.length).toBeGreaterThan(10);
    expect(shown(3.1).length).toBe(2);
    expect(shown(3.9).length).toBe(0); // faded
    expect(shown(3.9, { layer: 0 }).length).toBe(2); // held
  });

  it("survives places that do not exist", () => {
    const { run, scene, renderer } = within();
    run.array("position/plain").fill(NaN, 0, 40);
    run.array("position/plain").fill(Infinity, 40, 60);
    renderer.setRun(run, null);
    renderer.draw({ ...scene, time: 0.5, token: 2 });
    expect(renderer.place(1)).toBeNull();
    expect(renderer.pick(400, 250, 1e4)).not.toBe(1);
    expect(/NaN|Infinity/.test(document.body.innerHTML)).toBe(false);
  });
});

describe("an SVG file", () => {
  it("is well-formed on its own and holds no markup of tokens", () => {
    const { run, scene } = sceneOf({}, { token: null, arrows: 6 }, { labels: [{ token: 2, text: "</text><script>alert(1)</script>&\u0001\ud800", opacity: 1, strong: true }] });
    const text = toSvgText(run, null, scene, 640, 400, "<title> & more");
    expect(text.startsWith('<svg xmlns="http://www.w3.org/2000/svg" width="640" height="400"')).toBe(true);
    expect(text).not.toContain("<script");
    expect(text).not.toContain("NaN");
    expect(text).not.toMatch(/[\u0000-\u0008]/);
    expect(() => encodeURIComponent(text)).not.toThrow(); // no half characters
    const parsed = new DOMParser().parseFromString(text, "image/svg+xml");
    expect(parsed.querySelector("parsererror")).toBeNull();
    expect(parsed.querySelector("title")!.textContent).toBe("<title> & more");
    expect(parsed.querySelectorAll("linearGradient")).toHaveLength(6);
    const depth = [...text.matchAll(/<(\/?)([a-zA-Z]+)[^>]*?(\/?)>/g)].reduce((open, [, end, , self]) => open + (end ? -1 : self ? 0 : 1), 0);
    expect(depth).toBe(0);
  });

  it("draws the strongest arrows where there are too many", () => {
    const { run, scene } = sceneOf({ tokens: 40, heads: 2 }, { token: null, arrows: 3000, first: true });
    expect(scene.selection.edges.length).toBeGreaterThan(SVG_ARROWS);
    const text = toSvgText(run, null, scene, 640, 400);
    expect(text.match(/fill-opacity="[\d.]+"\/>/g)!.length).toBeLessThan(SVG_ARROWS + 200);
  });
});

describe("choosing a renderer", () => {
  it("says why where there is no WebGL2, and leaves nothing behind", () => {
    const host = document.createElement("div");
    const got = createRenderer(host, "auto"); // happy-dom has none
    expect(got.renderer.kind).toBe("svg");
    expect(got.reason).toBe(`This browser gives no WebGL2: drawn as SVG, up to ${SVG_ARROWS} arrows.`);
    expect(got.mostArrows).toBe(SVG_ARROWS);
    expect(host.children).toHaveLength(1);
    expect(createRenderer(host, "svg").reason).toBeNull();
  });
});

describe("arrows", () => {
  const shape = (nth = 0, grown = 1) => arrowShape(0, 0, 200, 0, 5, 8, 6, nth, grown, emptyArrow());

  it("swing to the left of their way, so that there and back do not meet; further for each next head", () => {
    const there = shape();
    const back = arrowShape(200, 0, 0, 0, 5, 8, 6, 0, 1, emptyArrow());
    expect(there.cy).toBeLessThan(-10);
    expect(back.cy).toBeCloseTo(-there.cy);
    expect(shape(1).cy).toBeLessThan(there.cy);
  });

  it("keep clear of both points, taper to the sender, and end in a head", () => {
    const it_ = shape();
    const at = [0, 0, 0, 0];
    along(it_, it_.from, at);
    expect(Math.hypot(at[0]!, at[1]!)).toBeGreaterThan(5);
    along(it_, it_.to, at);
    expect(Math.hypot(at[0]! - 200, at[1]!)).toBeGreaterThan(8);
    expect(it_.tail).toBeLessThan(it_.body);
    expect(it_.head).toBeGreaterThan(it_.body);
    expect(it_.from < it_.neck && it_.neck < it_.to && it_.to < 1).toBe(true);
    expect(shape(0, 0.5).to).toBeLessThan(it_.to);
  });

  it("hold together when the two points touch", () => {
    for (const x of [0, 0.01, 3]) {
      const tiny = arrowShape(0, 0, x, 0, 6, 6, 7, 0, 1, emptyArrow());
      expect(Object.values(tiny).every(Number.isFinite)).toBe(true);
      expect(tiny.from <= tiny.neck && tiny.neck <= tiny.to).toBe(true);
    }
  });
});

describe("colours", () => {
  it("are read in the ways they are written", () => {
    expect(rgb("#fff")).toEqual([1, 1, 1]);
    expect(hex(rgb("#b35806"))).toBe("#b35806");
    expect(hex(rgb("rgb(1, 2, 255)"))).toBe("#0102ff");
    expect(hex(rgb("url(javascript:alert(1))"))).toBe("#808080");
  });

  it("lean to attraction and repulsion, neutral where there is no pull", () => {
    expect(hex(pullColour(1, colours))).toBe(colours.attract);
    expect(hex(pullColour(-1, colours))).toBe(colours.repel);
    expect(hex(pullColour(NaN, colours))).toBe(colours.neutral);
    expect(lean(0.25)).toBe(0.5);
    expect(lean(-4)).toBe(-1);
    expect(widest(10)).toBeGreaterThan(widest(1000));
  });
});
