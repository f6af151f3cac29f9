/** The keyboard, as one table: what help shows is what works. */

export type Action =
  | "layer-" | "layer+" | "stop-" | "stop+" | "token-" | "token+" | "play" | "arrows-" | "arrows+" | "threshold-" | "threshold+"
  | "heads" | "first" | "itself" | "words" | "meaning" | "panel" | "ghosts" | "run" | "search" | "reset" | "frame" | "in" | "out" | "left" | "right" | "lift" | "sink" | "pin" | "hold" | "python"
  | "help" | "escape"; // prettier-ignore

export interface Key {
  keys: string[]; // as in KeyboardEvent.key, with Shift+ where it matters
  action: Action;
  says: string;
}

export const KEYS: Key[] = [
  { keys: ["ArrowLeft"], action: "layer-", says: "previous layer" },
  { keys: ["ArrowRight"], action: "layer+", says: "next layer" },
  { keys: ["Shift+ArrowLeft", ","], action: "stop-", says: "previous half-step" },
  { keys: ["Shift+ArrowRight", "."], action: "stop+", says: "next half-step" },
  { keys: ["ArrowUp"], action: "token-", says: "previous token" },
  { keys: ["ArrowDown"], action: "token+", says: "next token" },
  { keys: [" "], action: "play", says: "play or pause" },
  { keys: ["["], action: "arrows-", says: "fewer arrows" },
  { keys: ["]"], action: "arrows+", says: "more arrows" },
  { keys: ["{"], action: "threshold-", says: "lower threshold" },
  { keys: ["}"], action: "threshold+", says: "higher threshold" },
  { keys: ["m"], action: "meaning", says: "next meaning of the arrows" },
  { keys: ["v"], action: "panel", says: "next picture: flock, arcs, reach, table" },
  { keys: ["h"], action: "heads", says: "to the heads" },
  { keys: ["l"], action: "hold", says: "hold the arrows to this layer" },
  { keys: ["f"], action: "first", says: "first token on or off" },
  { keys: ["i"], action: "itself", says: "messages to itself on or off" },
  { keys: ["w"], action: "words", says: "words on or off" },
  { keys: ["p"], action: "pin", says: "pin the chosen token's path" },
  { keys: ["g"], action: "ghosts", says: "ghosts of the other run" },
  { keys: ["a"], action: "run", says: "the other run in front" },
  { keys: ["/"], action: "search", says: "search a token" },
  { keys: ["+", "="], action: "in", says: "closer" },
  { keys: ["-"], action: "out", says: "further away" },
  { keys: ["r"], action: "right", says: "turn" },
  { keys: ["Shift+r"], action: "left", says: "turn back" },
  { keys: ["t"], action: "lift", says: "tilt" },
  { keys: ["Shift+t"], action: "sink", says: "tilt back" },
  { keys: ["z"], action: "frame", says: "fit this stop, or the whole journey" },
  { keys: ["0"], action: "reset", says: "reset the view" },
  { keys: ["c"], action: "python", says: "this table as code" },
  { keys: ["?"], action: "help", says: "this help" },
  { keys: ["Escape"], action: "escape", says: "close, then let go of the token" },
];

const NAMES: Record<string, string> = { ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", " ": "space", Escape: "Esc" };

/** A key as people read it. */
export function keyName(key: string): string {
  const [last, shift] = key.startsWith("Shift+") ? [key.slice(6), "shift "] : [key, ""];
  return shift + (NAMES[last] ?? last);
}

export interface Press {
  key: string;
  shiftKey: boolean;
  ctrlKey: boolean;
  metaKey: boolean;
  altKey: boolean;
}

/** What kind of thing has the focus: text takes every key, a range its arrows, a button space and enter. */
export type Focus = "text" | "range" | "button" | "grid" | "none";

export function focusOf(element: Element | null): Focus {
  if (!element) return "none";
  const tag = element.tagName.toLowerCase();
  if (tag === "textarea" || (element as HTMLElement).isContentEditable) return "text";
  if (tag === "select") return "range";
  if (tag === "input") {
    const type = (element.getAttribute("type") ?? "text").toLowerCase();
    if (type === "range" || type === "radio") return "range";
    return ["checkbox", "button", "submit"].includes(type) ? "button" : "text";
  }
  const role = element.getAttribute("role");
  if (role === "gridcell" || role === "tab") return "grid";
  return tag === "button" || tag === "summary" || tag === "a" ? "button" : "none";
}

function known(name: string): Action | null {
  return KEYS.find((key) => key.keys.includes(name))?.action ?? null;
}

/** What a press means, or null where it is not ours. */
export function actionOf(press: Press, focus: Focus = "none"): Action | null {
  if (press.ctrlKey || press.metaKey || press.altKey) return null;
  if (focus === "text") return press.key === "Escape" ? "escape" : null;
  const arrow = press.key.startsWith("Arrow");
  if ((focus === "range" || focus === "grid") && (arrow || press.key === " ")) return null;
  if (focus === "button" && press.key === " ") return null;
  const letter = press.key.length === 1 ? press.key.toLowerCase() : press.key;
  const name = press.shiftKey && (arrow || /^[a-z]$/.test(letter)) ? `Shift+${letter}` : letter;
  return known(name) ?? (arrow ? null : known(letter)); // capitals mean their letter, unless they have a meaning of their own
}
