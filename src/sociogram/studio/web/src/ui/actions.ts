/** What each key does. Buttons do the same through the same functions. */
import { orbitBy } from "../engine";
import type { Camera, State } from "../types";
import type { Store } from "../store";
import type { Action } from "./keys";
import { stepLayer, stepStop } from "./stops";

export const PANELS: State["panel"][] = ["flock", "arcs", "reach", "table"];
const COUNTS = [1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150, 200, 300, 500, 700, 1000, 1500, 2000, 3000];

/** More or fewer, in even steps of a logarithm. */
export function stepCount(now: number, by: 1 | -1): number {
  return by > 0 ? (COUNTS.find((n) => n > now) ?? 3000) : (COUNTS.findLast((n) => n < now) ?? 1);
}

function next<T>(list: readonly T[], now: T): T {
  return list[(list.indexOf(now) + 1) % list.length]!;
}

/** The view reset; what it fits stays as it was chosen. */
export function home(camera: Camera): Camera {
  return { yaw: 0, pitch: 0, zoom: 1, x: 0, y: 0, follow: camera.follow ?? true };
}

/** `root` is the page's element, for what moves the focus. */
export function act(store: Store, action: Action, root: HTMLElement | null): void {
  const { s } = store;
  const info = store.info.peek();
  const at = store.at.peek();
  const stepToken = (by: 1 | -1): void => {
    const T = info.tokens.length;
    const now = s.token.peek();
    store.choose(now === null ? (by > 0 ? 0 : T - 1) : (now + by + T) % T);
  };
  const flip = (key: "first" | "itself" | "words" | "ghosts" | "help"): void => void (s[key].value = !s[key].peek());
  const step = (by: number): void => void (s.threshold.value = Math.min(1, Math.max(0, Number((s.threshold.peek() + by).toFixed(2)))));
  switch (action) {
    case "layer-": return store.go(stepLayer(info, at, -1));
    case "layer+": return store.go(stepLayer(info, at, 1));
    case "stop-": return store.go(stepStop(info, at, -1));
    case "stop+": return store.go(stepStop(info, at, 1));
    case "token-": return stepToken(-1);
    case "token+": return stepToken(1);
    case "play": return play(store);
    case "arrows-": return void (s.arrows.value = stepCount(s.arrows.peek(), -1));
    case "arrows+": return void (s.arrows.value = stepCount(s.arrows.peek(), 1));
    case "threshold-": return step(-0.05);
    case "threshold+": return step(0.05);
    case "meaning": return void (s.meaning.value = next(info.meanings.map((m) => m.name), s.meaning.peek()));
    case "panel": return void (s.panel.value = next(PANELS, s.panel.peek()));
    case "ghosts": return store.frame.runs.length > 1 ? flip("ghosts") : undefined;
    case "first": case "itself": case "words": case "help": return flip(action);
    case "hold": return void (s.layer.value = s.layer.peek() === null ? store.layer.peek() : null);
    case "pin": return s.token.peek() === null ? undefined : store.pin(s.token.peek()!);
    case "run": return store.swap();
    case "reset": return void (s.camera.value = home(s.camera.peek()));
    case "in": case "out": case "left": case "right": case "lift": case "sink": {
      const now = s.camera.peek();
      const [turn, tilt, zoom] = { in: [0, 0, 1.25], out: [0, 0, 0.8], left: [-1, 0, 1], right: [1, 0, 1], lift: [0, 1, 1], sink: [0, -1, 1] }[action] as [number, number, number];
      s.camera.value = { ...orbitBy(now, 40 * turn, 40 * tilt), zoom: Math.min(200, Math.max(0.05, now.zoom * zoom)) };
      return;
    }
    case "frame": return void (s.camera.value = { ...s.camera.peek(), follow: s.camera.peek().follow === false });
    case "python": return void (store.dialog.value = "code");
    case "heads":
      store.side.value = "heads";
      return focusSoon(root, '[role="gridcell"][tabindex="0"]');
    case "search": return focusSoon(root, "input[data-search]");
    case "escape": return escape(store);
  } // prettier-ignore
}

/** From the last stop it starts again at the first. */
export function play(store: Store): void {
  const { s } = store;
  if (!s.playing.peek() && store.at.peek() >= store.info.peek().stops.length - 1) s.stop.value = 0;
  s.playing.value = !s.playing.peek();
}

function escape(store: Store): void {
  const { s } = store;
  if (store.dialog.peek()) store.dialog.value = null;
  else if (s.help.peek()) s.help.value = false;
  else if (s.heads.peek().length) s.heads.value = [];
  else s.token.value = null;
}

function focusSoon(root: HTMLElement | null, selector: string): void {
  setTimeout(() => root?.querySelector<HTMLElement>(selector)?.focus(), 0);
}
