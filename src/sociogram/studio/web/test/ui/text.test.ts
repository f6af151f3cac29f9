import { describe, expect, it } from "vitest";
import { joins, num, percent, plain, quoted, short, signed, spaced, visible } from "../../src/ui/text";
import { found } from "../../src/ui/search";

describe("tokens as text", () => {
  it("shows what cannot be seen, and turns nothing around", () => {
    expect(visible("a\nb\tc")).toBe("a⏎b⇥c");
    expect(visible("\u202eevil")).toBe("⟨202E⟩evil");
    expect(visible("\u0000")).toBe("⟨0000⟩");
    expect(visible("\ud800")).toBe("⟨D800⟩");
    expect(visible("👩‍👧")).toBe("👩‍👧");
    expect(visible("")).toBe("∅");
    expect(visible("</script>")).toBe("</script>");
  });
  it("leaves spaces out of sentences but never a token of nothing else", () => {
    expect(plain("␣of")).toBe("of");
    expect(plain(" of")).toBe("of");
    expect(plain("##ing")).toBe("ing");
    expect(plain("   ")).toBe("␣␣␣");
    expect(quoted("␣of")).toBe("‘of’");
    expect(spaced(" of ")).toBe("␣of␣");
  });
  it("cuts letters, not halves of them", () => {
    expect(short("👩👩👩", 2)).toBe("👩…");
    expect(short("abc", 3)).toBe("abc");
  });
  it("knows which pieces make one word", () => {
    expect(joins(["The", "␣E", "iffel", "␣Tower", "."])).toEqual([false, false, true, false, true]);
    expect(joins(["un", "##believ", "##able", "it"])).toEqual([false, true, true, false]);
    expect(joins(["pho", "to␣", "of␣"])).toEqual([false, true, false]);
    expect(joins(["a", "b"])).toEqual([false, false]);
    expect(joins(["<s>", "The", "␣cat"])).toEqual([false, false, false]);
    expect(joins(["␣a", "↵", "b", "␣c"])).toEqual([false, false, false, false]);
  });
});

describe("numbers", () => {
  it("keeps the digits that matter", () => {
    expect([0, 0.318, 14.21, 9.998, 142.4, 1234.5].map(num)).toEqual(["0", "0.318", "14.2", "10.0", "142", "1,235"]);
    expect(num(6.1e-5)).toBe("6.1e−5");
    expect(num(-2.5)).toBe("−2.50");
    expect(num(NaN)).toBe("–");
    expect(num(null)).toBe("–");
    expect(signed(0.5)).toBe("+0.500");
    expect(signed(-0.5)).toBe("−0.500");
  });
  it("never rounds a share to all or nothing", () => {
    expect(percent(0.74)).toBe("74\u202f%");
    expect(percent(0.99999)).toBe(">99.9\u202f%");
    expect(percent(0.0001)).toBe("<0.1\u202f%");
    expect(percent(0)).toBe("0\u202f%");
    expect(percent(1)).toBe("100\u202f%");
    expect(percent(0.034)).toBe("3.4\u202f%");
    expect(percent(NaN)).toBe("–");
  });
});

describe("search", () => {
  const tokens = ["The", " E", "iffel", " Tower", " is", " is"];
  it("finds text in and across tokens, and positions", () => {
    expect(found(tokens, "tower")).toEqual([3]);
    expect(found(tokens, "eiffel")).toEqual([2]);
    expect(found(tokens, "is")).toEqual([4, 5]);
    expect(found(tokens, "3")).toEqual([3]);
    expect(found(tokens, "99")).toEqual([]);
    expect(found(tokens, " ")).toEqual([]);
  });
});
