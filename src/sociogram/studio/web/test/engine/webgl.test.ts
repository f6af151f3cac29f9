/** The WebGL2 renderer in a real browser (software rendering), opened from disk under the page's own rules. Skips without Chromium. */

import { build } from "esbuild";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { chromium, type Browser, type Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { largeFrame, tinyFrame } from "../helpers";

const program = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find((path) => path && existsSync(path));
if (!program) console.warn("no Chromium: the WebGL2 renderer is not tested (apt install chromium, or set CHROMIUM)");

/** Runs inside the page. */
const SETUP = `
const COLOURS = { background: "#ffffff", ink: "#111111", faint: "#cccccc", point: "#3355aa", chosen: "#aa2200", ghost: "#999999", attract: "#b35806", neutral: "#888888", repel: "#6a4aa0" };
window.setUp = async (data, change = {}, prefer = "auto") => {
  const frame = await E.decodeFrame(data);
  const run = frame.runs[0];
  const other = frame.runs[1] ?? null;
  const state = { ...E.defaultState(frame), ...change };
  const lost = [];
  const host = document.getElementById("host");
  const { renderer, reason } = E.createRenderer(host, prefer, (is) => lost.push(is));
  renderer.setRun(run, other);
  renderer.resize(800, 500, 1);
  const view = run.info.views[0];
  const scene = { time: state.stop, view, axes: state.axes, camera: state.camera, selection: E.select(run, state), meaning: state.meaning, first: state.first, itself: state.itself, token: state.token, hover: null, pins: state.pins, ghosts: state.ghosts, labels: [], colours: COLOURS };
  renderer.draw(scene);
  return { frame, run, other, state, host, renderer, reason, scene, lost };
};
window.pixels = (canvas) => canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
window.away = (a, b) => { let sum = 0; for (let i = 0; i < a.length; i++) sum += Math.abs(a[i] - b[i]); return sum / a.length; };
window.svgPixels = async (s) => {
  const image = new Image();
  const url = URL.createObjectURL(new Blob([E.toSvgText(s.run, s.other, s.scene, 800, 500)], { type: "image/svg+xml" }));
  await new Promise((done, failed) => { image.onload = done; image.onerror = failed; image.src = url; });
  const canvas = document.createElement("canvas");
  canvas.width = 800; canvas.height = 500;
  canvas.getContext("2d").drawImage(image, 0, 0);
  return pixels(canvas);
};
`;

describe.skipIf(!program)("the WebGL2 renderer", () => {
  let folder: string;
  let browser: Browser;
  let page: Page;
  const said: string[] = [];
  const asked: string[] = [];
  const small = tinyFrame({ tokens: 14, layers: 4, heads: 3, runs: 2, views: ["plain"] }).base64;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "sociogram-"));
    const made = await build({ entryPoints: [fileURLToPath(new URL("../../src/engine/index.ts", import.meta.url))], bundle: true, format: "iife", globalName: "E", write: false, charset: "ascii" });
    const script = `${made.outputFiles[0]!.text}\n${SETUP}`.replaceAll("</script", "<\\/script");
    writeFileSync(
      join(folder, "page.html"),
      `<!doctype html><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src blob:"><div id="host" style="position:relative;width:800px;height:500px"></div><script>${script}</script>`,
    );
    browser = await chromium.launch({ executablePath: program, args: ["--no-sandbox"] });
    page = await browser.newPage({ viewport: { width: 800, height: 500 } });
    page.on("console", (message) => said.push(message.text()));
    page.on("pageerror", (error) => said.push(error.message));
    page.on("request", (request) => request.url().startsWith("blob:") || asked.push(request.url()));
  }, 60_000);

  afterAll(async () => {
    await browser?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  const fresh = async (): Promise<void> => {
    await page.goto(pathToFileURL(join(folder, "page.html")).href);
  };

  it("draws the same picture as the SVG renderer", async () => {
    await fresh();
    for (const [name, change, more] of [
      ["the default", {}, {}],
      ["everything at once", { token: 9, pins: [4], itself: true, first: true, arrows: 120, ghosts: true }, { hover: 3 }],
      ["turned, on the way", { token: null, arrows: 30, camera: { yaw: 0.7, pitch: 0.4, zoom: 1.2, x: 0.1, y: 0.05 } }, { time: 2.6 }],
    ] as const) {
      const got = await page.evaluate(
        async ([data, change, more]) => {
          const w = window as any;
          const s = await w.setUp(data, change);
          Object.assign(s.scene, more);
          if (more.time !== undefined) s.scene.selection = w.E.select(s.run, { ...s.state, stop: more.time });
          s.renderer.draw(s.scene);
          const drawn = w.pixels(s.renderer.snapshot());
          const svg = await w.svgPixels(s);
          const blank = new Uint8ClampedArray(drawn.length).fill(255);
          s.scene.selection = w.E.select(s.run, { ...s.state, arrows: 1 });
          s.renderer.draw(s.scene);
          const fewer = w.pixels(s.renderer.snapshot());
          const result = { kind: s.renderer.kind, edges: s.scene.selection.edges.length, away: w.away(drawn, svg), blank: w.away(drawn, blank), fewer: w.away(drawn, fewer), error: s.renderer.canvas.getContext("webgl2").getError() };
          s.renderer.dispose();
          return result;
        },
        [small, change, more] as const,
      );
      expect(got, name).toMatchObject({ kind: "webgl2", error: 0 });
      expect(got.blank, name).toBeGreaterThan(1);
      expect(got.fewer, name).toBeGreaterThan(0.2); // the arrows are there
      expect(got.away, name).toBeLessThan(0.18 * got.blank);
    }
  });

  it("comes back after the browser took its memory away", async () => {
    await fresh();
    const got = await page.evaluate(async (data) => {
      const w = window as any;
      const s = await w.setUp(data);
      const before = w.pixels(s.renderer.snapshot()).slice();
      const gl = s.renderer.canvas.getContext("webgl2").getExtension("WEBGL_lose_context");
      const next = (type: string) => new Promise((done) => s.renderer.canvas.addEventListener(type, () => setTimeout(done, 0), { once: true }));
      const lost = next("webglcontextlost");
      gl.loseContext();
      await lost;
      s.renderer.draw({ ...s.scene, time: 1 }); // must not throw
      const place = s.renderer.place(3);
      s.renderer.draw(s.scene);
      const back = next("webglcontextrestored");
      gl.restoreContext();
      await back;
      const after = w.pixels(s.renderer.snapshot());
      return { away: w.away(before, after), told: s.lost, place };
    }, small);
    expect(got.told).toEqual([true, false]);
    expect(got.place).not.toBeNull();
    expect(got.away).toBe(0);
  });

  it("gives its context back: a page has sixteen, and may make twenty", async () => {
    await fresh();
    said.length = 0;
    const got = await page.evaluate(async (data) => {
      const w = window as any;
      for (let i = 0; i < 20; i++) (await w.setUp(data)).renderer.dispose();
      const s = await w.setUp(data);
      return { kind: s.renderer.kind, children: s.host.children.length, lost: s.renderer.canvas.getContext("webgl2").isContextLost() };
    }, small);
    expect(got).toEqual({ kind: "webgl2", children: 2, lost: false });
    expect(said.filter((text) => text.includes("Too many"))).toEqual([]);
  });

  it("says so where there is no WebGL2, and draws all the same", async () => {
    await fresh();
    const got = await page.evaluate(async (data) => {
      const w = window as any;
      const real = HTMLCanvasElement.prototype.getContext;
      HTMLCanvasElement.prototype.getContext = function (this: HTMLCanvasElement, kind: string, ...rest: unknown[]) {
        return kind.startsWith("webgl") ? null : (real as any).call(this, kind, ...rest);
      } as any;
      const s = await w.setUp(data);
      HTMLCanvasElement.prototype.getContext = real;
      return { kind: s.renderer.kind, reason: s.reason, shapes: s.host.querySelectorAll("path, circle").length };
    }, small);
    expect(got).toMatchObject({ kind: "svg", reason: expect.stringContaining("no WebGL2: drawn as SVG") });
    expect(got.shapes).toBeGreaterThan(30);
  });

  it("spends little JavaScript on a frame with 50,000 edges resident", async () => {
    await fresh();
    const data = largeFrame({ tokens: 2000, layers: 30, heads: 12, edges: 50_000, components: 4 }).base64;
    const got = await page.evaluate(async (data) => {
      const w = window as any;
      const s = await w.setUp(data, { token: null, arrows: 2000 });
      const room = { width: 800, height: 500 };
      s.scene.labels = w.E.chooseLabels(s.run, s.state, s.scene.selection, null, s.scene.time, (token: number) => s.renderer.place(token), room);
      const times: number[] = [];
      for (let i = 0; i < 40; i++) {
        s.scene.time = 20 + (i % 10) / 10;
        s.renderer.draw(s.scene);
        times.push(s.renderer.lastFrameMs);
        await new Promise((done) => setTimeout(done, 0));
      }
      times.sort((a, b) => a - b);
      return { kind: s.renderer.kind, labels: s.scene.labels.length, edges: s.run.array("edge/query").length, median: times[20]!, error: s.renderer.canvas.getContext("webgl2").getError() };
    }, data);
    expect(got).toMatchObject({ kind: "webgl2", edges: 50_000, error: 0 });
    expect(got.labels).toBeGreaterThan(10);
    expect(got.median).toBeLessThan(2); // about 0.2 ms on a quiet machine
    console.info(`2,000 tokens, 50,000 edges resident, 2,000 arrows, ${got.labels} labels: ${got.median.toFixed(2)} ms of JavaScript per frame`);
  }, 60_000);

  it("asks for nothing and complains of nothing", () => {
    expect(asked.filter((url) => !url.startsWith("file:"))).toEqual([]);
    expect(said.filter((text) => !text.includes("CONTEXT_LOST") && !text.includes("GPU stall") && !text.includes("willReadFrequently"))).toEqual([]);
  });
});
