// @vitest-environment happy-dom
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Store } from "../../src/store";
import { act, stepCount } from "../../src/ui/actions";
import { runClock } from "../../src/ui/clock";
import { tinyFrame } from "../helpers";

const stores: Store[] = [];
function store(options: Parameters<typeof tinyFrame>[0] = {}, more: ConstructorParameters<typeof Store>[1] = {}): Store {
  const made = new Store(tinyFrame(options).frame, more);
  stores.push(made);
  return made;
}

beforeEach(() => {
  vi.useFakeTimers();
  history.replaceState(null, "", "/");
});
afterEach(() => {
  stores.splice(0).forEach((one) => one.dispose());
  vi.useRealTimers();
});

describe("the state", () => {
  it("follows the keys", () => {
    const page = store({ layers: 4 });
    page.go(3);
    act(page, "layer+", null);
    expect(page.at.value).toBe(5);
    act(page, "stop+", null);
    expect(page.at.value).toBe(6);
    act(page, "token+", null);
    expect(page.s.token.value).toBe(0); // round
    act(page, "token-", null);
    expect(page.s.token.value).toBe(5);
    act(page, "first", null);
    act(page, "itself", null);
    act(page, "words", null);
    expect([page.s.first.value, page.s.itself.value, page.s.words.value]).toEqual([true, true, false]);
    act(page, "meaning", null);
    expect(page.s.meaning.value).toBe("attention");
    act(page, "panel", null);
    expect(page.s.panel.value).toBe("arcs");
    act(page, "hold", null);
    expect(page.s.layer.value).toBe(2);
    act(page, "stop-", null);
    act(page, "layer-", null);
    expect(page.selection.value.layer).toBe(2);
    act(page, "pin", null);
    act(page, "pin", null);
    expect(page.s.pins.value).toEqual([]);
    act(page, "escape", null);
    expect(page.s.token.value).toBeNull();
    act(page, "ghosts", null); // there is no other run
    expect(page.s.ghosts.value).toBe(false);
    act(page, "in", null);
    act(page, "right", null);
    expect(page.s.camera.value.zoom).toBe(1.25);
    act(page, "reset", null);
    expect(page.s.camera.value).toEqual({ yaw: 0, pitch: 0, zoom: 1, x: 0, y: 0, follow: true });
  });
  it("steps the number of arrows evenly and within bounds", () => {
    expect([stepCount(10, 1), stepCount(10, -1), stepCount(12, 1), stepCount(1, -1), stepCount(3000, 1)]).toEqual([15, 7, 15, 1, 3000]);
  });
  it("isolates heads, adds to them, and lets them go", () => {
    const page = store({ heads: 4 });
    page.lockHead(2);
    expect(page.s.heads.value).toEqual([2]);
    page.lockHead(0, true);
    expect(page.s.heads.value).toEqual([0, 2]);
    const heads = [...page.selection.value.edges].map((edge) => page.run.value.array("edge/head")[edge]);
    expect(heads.every((head) => head === 0 || head === 2)).toBe(true);
    page.lockHead(2, true);
    page.lockHead(0);
    expect(page.s.heads.value).toEqual([]);
  });
  it("previews a head without choosing it", () => {
    const page = store({ heads: 3 });
    page.hoverHead.value = { layer: 0, head: 1 };
    expect([...page.drawn.value.edges].every((e) => page.run.value.array("edge/head")[e] === 1 && page.run.value.array("edge/layer")[e] === 0)).toBe(true);
    expect(page.s.heads.value).toEqual([]);
    page.hoverHead.value = null;
    expect(page.drawn.value).toBe(page.selection.value);
  });
  it("takes nothing that this frame does not have", () => {
    const page = store();
    page.set({ token: 999, stop: -4, meaning: "toward", view: "nowhere", arrows: 1e9, axes: [0, 9, 2] });
    const state = page.state();
    expect(state.token).toBe(5);
    expect(state.stop).toBe(0);
    expect(state.meaning).toBe("message");
    expect(state.view).toBe("plain");
    expect(state.arrows).toBe(3000);
    expect(state.axes).toEqual([0, 3, 2]);
  });
  it("swaps recordings and keeps its place", () => {
    const page = store({ runs: 2 });
    act(page, "run", null);
    expect(page.info.value.name).toBe("second");
    expect(page.other.value!.info.name).toBe("first");
    act(page, "ghosts", null);
    expect(page.s.ghosts.value).toBe(false);
  });
});

describe("the address", () => {
  it("holds the view, read back as it was", () => {
    const page = store({ layers: 4, toward: " mat" }, { address: true });
    page.set({ token: 3, stop: 5, meaning: "toward", arrows: 42, heads: [1], pins: [2], panel: "reach", theme: "dark" });
    page.side.value = "heads";
    page.reachShare.value = 0.2;
    vi.advanceTimersByTime(400);
    expect(location.hash).toContain("token=3");
    const again = store({ layers: 4, toward: " mat" }, { address: true });
    expect(again.state()).toEqual(page.state());
    expect([again.side.value, again.reachShare.value]).toEqual(["heads", 0.2]);
  });
  it("is followed when it changes", () => {
    const page = store({}, { address: true });
    location.hash = "#token=2&stop=1&side=settings";
    dispatchEvent(new Event("hashchange"));
    expect([page.s.token.value, page.s.stop.value, page.side.value]).toEqual([2, 1, "settings"]);
    location.hash = "#token=%E0%A4%A&stop=1e999&panel=<img>&axes=9.9.9&camera=NaN";
    dispatchEvent(new Event("hashchange"));
    expect(page.s.panel.value).toBe("flock");
  });
  it("is left alone by a widget, and where a document may not change it", () => {
    const widget = store();
    widget.set({ token: 1 });
    vi.advanceTimersByTime(400);
    expect(location.hash).toBe("");
    const refuse = vi.spyOn(history, "replaceState").mockImplementation(() => {
      throw new DOMException("about:srcdoc", "SecurityError");
    });
    const page = store({}, { address: true });
    page.set({ token: 1 });
    vi.advanceTimersByTime(400);
    expect(refuse).toHaveBeenCalled();
    refuse.mockRestore();
  });
});

describe("time", () => {
  it("plays to the end, and rests on a stop when paused", () => {
    const page = store({ layers: 2 });
    const end = runClock(page);
    page.go(0);
    act(page, "play", null);
    vi.advanceTimersByTime(300);
    expect(page.shown.value).toBeGreaterThan(0);
    expect(Number.isInteger(page.shown.value)).toBe(false);
    act(page, "play", null);
    expect(page.s.stop.value).toBe(1);
    vi.advanceTimersByTime(800);
    expect(page.shown.value).toBe(1);
    act(page, "play", null);
    vi.advanceTimersByTime(10_000);
    expect([page.s.playing.value, page.s.stop.value]).toEqual([false, 4]);
    end();
  });
  it("only jumps where less motion is asked for", () => {
    const page = store({ layers: 2 });
    page.still.value = true;
    const end = runClock(page);
    page.go(0);
    expect(page.shown.value).toBe(0);
    act(page, "stop+", null);
    expect(page.shown.value).toBe(1);
    act(page, "play", null);
    for (let i = 0; i < 40; i++) {
      vi.advanceTimersByTime(50);
      expect(Number.isInteger(page.shown.value)).toBe(true);
    }
    end();
  });
  it("shows the arrows of the stop it comes to, or of the one they still fade from", () => {
    const page = store({ layers: 3 });
    page.s.stop.value = 2.5; // after an MLP, on the way to attention in layer 1
    expect([page.at.value, page.selection.value.layer]).toEqual([3, 1]);
    page.s.stop.value = 3.5; // from there to its MLP
    expect([page.at.value, page.selection.value.layer]).toEqual([4, 1]);
  });
});
