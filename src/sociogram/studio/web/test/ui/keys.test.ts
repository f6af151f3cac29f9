import { describe, expect, it } from "vitest";
import { actionOf, KEYS, keyName, type Press } from "../../src/ui/keys";

const press = (key: string, more: Partial<Press> = {}): Press => ({ key, shiftKey: false, ctrlKey: false, metaKey: false, altKey: false, ...more });

describe("the keyboard", () => {
  it("does what the issue says", () => {
    const wanted: Record<string, string> = {
      ArrowLeft: "layer-", ArrowRight: "layer+", ArrowUp: "token-", ArrowDown: "token+", " ": "play", "[": "arrows-", "]": "arrows+",
      ",": "stop-", ".": "stop+", h: "heads", f: "first", w: "words", m: "meaning", v: "panel", g: "ghosts", a: "run", "/": "search",
      "0": "reset", "?": "help", Escape: "escape",
    }; // prettier-ignore
    for (const [key, action] of Object.entries(wanted)) expect(actionOf(press(key)), key).toBe(action);
    expect(actionOf(press("ArrowLeft", { shiftKey: true }))).toBe("stop-");
    expect(actionOf(press("ArrowRight", { shiftKey: true }))).toBe("stop+");
    expect(actionOf(press("?", { shiftKey: true }))).toBe("help");
    expect(actionOf(press("M", { shiftKey: true }))).toBe("meaning"); // caps lock
    expect(actionOf(press("R", { shiftKey: true }))).toBe("left");
    expect(actionOf(press("ArrowUp", { shiftKey: true }))).toBeNull();
  });
  it("leaves the browser's own and typed keys alone", () => {
    expect(actionOf(press("f", { ctrlKey: true }))).toBeNull();
    expect(actionOf(press("ArrowLeft", { altKey: true }))).toBeNull();
    expect(actionOf(press("a", { metaKey: true }))).toBeNull();
    expect(actionOf(press("f"), "text")).toBeNull();
    expect(actionOf(press("Escape"), "text")).toBe("escape");
    expect(actionOf(press("ArrowLeft"), "range")).toBeNull();
    expect(actionOf(press(" "), "button")).toBeNull();
    expect(actionOf(press("ArrowLeft"), "button")).toBe("layer-");
    expect(actionOf(press("ArrowLeft"), "grid")).toBeNull();
    expect(actionOf(press("q"))).toBeNull();
  });
  it("gives no key to two actions, and names each", () => {
    const all = KEYS.flatMap((key) => key.keys);
    expect(new Set(all).size).toBe(all.length);
    expect(keyName("Shift+ArrowLeft")).toBe("shift ←");
    expect(keyName("+")).toBe("+");
    expect(KEYS.every((key) => key.says.length > 3)).toBe(true);
  });
});
