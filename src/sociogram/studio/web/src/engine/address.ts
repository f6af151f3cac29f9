/** The state as a URL fragment: only what differs from the defaults, readable, and harmless whatever it holds. */

import type { Camera, Frame, State } from "../types";

const PANELS: State["panel"][] = ["flock", "arcs", "reach", "table"];
const THEMES: State["theme"][] = ["auto", "light", "dark"];
const TURN = 2 * Math.PI;
const MANY = 512; // no list in an address is read further than this

/** `stop=5&token=7&heads=0.3`: pairs joined with `&`, lists with `.`, what is absent `none`. No leading `#`. */
export function toFragment(state: State, defaults: State): string {
  const out: string[] = [];
  const put = (key: string, value: string): void => void out.push(`${key}=${encodeURIComponent(value)}`);
  const plain = (key: string, now: number | string | boolean | null, then: number | string | boolean | null): void => {
    if (now !== then) put(key, now === null ? "none" : typeof now === "boolean" ? (now ? "1" : "0") : typeof now === "number" ? short(now) : now);
  };
  plain("run", state.run, defaults.run);
  plain("ghosts", state.ghosts, defaults.ghosts);
  plain("stop", state.stop, defaults.stop);
  plain("play", state.playing, defaults.playing);
  plain("view", state.view, defaults.view);
  if (!same(state.axes, defaults.axes)) put("axes", state.axes.join("."));
  const camera = cameraText(state.camera);
  if (camera !== cameraText(defaults.camera)) put("camera", camera);
  plain("fit", state.camera.follow === false ? "all" : "stop", defaults.camera.follow === false ? "all" : "stop");
  plain("means", state.meaning, defaults.meaning);
  plain("arrows", state.arrows, defaults.arrows);
  plain("over", state.threshold, defaults.threshold);
  plain("first", state.first, defaults.first);
  plain("self", state.itself, defaults.itself);
  if (!same(state.heads, defaults.heads)) put("heads", state.heads.length ? state.heads.join(".") : "all");
  plain("layer", state.layer, defaults.layer);
  plain("token", state.token, defaults.token);
  if (!same(state.pins, defaults.pins)) put("pins", state.pins.length ? state.pins.join(".") : "none");
  plain("words", state.words, defaults.words);
  plain("panel", state.panel, defaults.panel);
  plain("theme", state.theme, defaults.theme);
  plain("help", state.help, defaults.help);
  return out.join("&");
}

/** Reads what `toFragment` wrote. What is unknown or no number is left at its default; what is too large or too small is clamped. */
export function fromFragment(text: string, frame: Frame, defaults: State): State {
  const given = new Map<string, string>();
  for (const pair of text.slice(0, 20_000).replace(/^#/, "").split("&")) {
    const cut = pair.indexOf("=");
    if (cut < 1) continue;
    try {
      given.set(pair.slice(0, cut), decodeURIComponent(pair.slice(cut + 1)));
    } catch {
      // a broken escape: as if it were not there
    }
  }
  const real = (key: string, then: number, least: number, most: number): number => {
    const value = parsed(given.get(key));
    return value === null ? then : clamp(value, least, most);
  };
  const whole = (key: string, then: number, least: number, most: number): number => {
    const value = parsed(given.get(key));
    return value === null ? then : clamp(Math.round(value), least, most);
  };
  const wholeOrNone = (key: string, then: number | null, most: number): number | null => {
    if (given.get(key) === "none") return null;
    const value = parsed(given.get(key));
    return value === null ? then : clamp(Math.round(value), 0, most);
  };
  const flag = (key: string, then: boolean): boolean => (given.get(key) === "1" ? true : given.get(key) === "0" ? false : then);
  const one = <Name extends string>(key: string, then: Name, choices: readonly Name[]): Name => choices.find((choice) => choice === given.get(key)) ?? then;
  const several = (key: string, then: number[], below: number, empty: string): number[] => {
    const here = given.get(key);
    if (here === undefined) return [...then];
    if (here === empty) return [];
    const found = here.split(".", MANY).filter((part) => /^\d{1,9}$/.test(part)).map(Number).filter((value) => value < below);
    return found.length ? [...new Set(found)] : [...then];
  };

  const run = whole("run", defaults.run, 0, frame.runs.length - 1);
  const info = frame.runs[run]!.info;
  const [S, T, L, H] = [info.stops.length, info.tokens.length, info.layers.length, info.heads];
  const names = info.views.map((view) => view.name);
  const view = one("view", names.includes(defaults.view) ? defaults.view : names[0]!, names);
  const C = info.views.find((each) => each.name === view)!.components.length;
  const meanings = info.meanings.map((meaning) => meaning.name);
  return {
    run,
    ghosts: flag("ghosts", defaults.ghosts),
    stop: real("stop", Math.min(defaults.stop, S - 1), 0, S - 1),
    playing: flag("play", defaults.playing),
    view,
    axes: axes(given.get("axes"), defaults.axes, C),
    camera: camera(given.get("camera"), given.get("fit"), defaults.camera),
    meaning: one("means", defaults.meaning, meanings),
    arrows: whole("arrows", defaults.arrows, 1, 3000),
    threshold: real("over", defaults.threshold, 0, 1),
    first: flag("first", defaults.first),
    itself: flag("self", defaults.itself),
    heads: several("heads", defaults.heads, H, "all").sort((a, b) => a - b),
    layer: L === 0 ? null : wholeOrNone("layer", defaults.layer, L - 1),
    token: wholeOrNone("token", defaults.token === null ? null : Math.min(defaults.token, T - 1), T - 1),
    pins: several("pins", defaults.pins, T, "none").filter((token) => token < T),
    words: flag("words", defaults.words),
    panel: one("panel", defaults.panel, PANELS),
    theme: one("theme", defaults.theme, THEMES),
    help: flag("help", defaults.help),
  };
}

/** Numbers as short as they can be without anyone seeing a difference. */
function short(value: number): string {
  return String(Number(value.toFixed(4)));
}

function cameraText(camera: Camera): string {
  return [camera.yaw, camera.pitch, camera.zoom, camera.x, camera.y].map(short).join(",");
}

function parsed(text: string | undefined): number | null {
  if (text === undefined || !/^[+-]?(\d{1,15}\.?\d{0,15}|\.\d{1,15})(e[+-]?\d{1,3})?$/i.test(text)) return null;
  const value = Number(text);
  return Number.isFinite(value) ? value : null;
}

function clamp(value: number, least: number, most: number): number {
  return Math.min(most, Math.max(least, value));
}

function same(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((value, index) => value === b[index]);
}

function axes(text: string | undefined, then: State["axes"], components: number): State["axes"] {
  const inside = (value: number): number => clamp(value, 0, components - 1);
  const numbers = text?.split(".", 4) ?? [];
  const taken = numbers.length === 3 && numbers.every((part) => /^\d{1,4}$/.test(part)) ? numbers.map(Number) : then;
  return [inside(taken[0]!), inside(taken[1]!), inside(taken[2]!)];
}

function camera(text: string | undefined, fit: string | undefined, then: Camera): Camera {
  const follow = fit === "all" ? false : fit === "stop" ? true : then.follow !== false;
  const numbers = text?.split(",", 6).map((part) => parsed(part)) ?? [];
  if (numbers.length !== 5 || numbers.some((value) => value === null)) return { ...then, follow };
  const [yaw, pitch, zoom, x, y] = numbers as number[];
  return { yaw: yaw! % TURN, pitch: clamp(pitch!, -Math.PI / 2, Math.PI / 2), zoom: clamp(zoom!, 0.05, 200), x: clamp(x!, -100, 100), y: clamp(y!, -100, 100), follow };
}
