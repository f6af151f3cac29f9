import { execFileSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import { asCommand, asked, asPython, commandGaps, python, shell, type Asked } from "../../src/ui/code";
import { defaultState } from "../../src/engine";
import { tinyFrame } from "../helpers";

const HOSTILE = [
  "plain", "it's", 'say "hi"', "back\\slash", "\\", "\\'", "$(touch /tmp/x)", "`id`", "!history", "a\nb", "\u001b[201~\rrm -rf", "\u0007", " -x", "-x",
  "</script><img src=x onerror=alert(1)>", "\u202eevil", "שלום", "👩‍👧", "\u00a0", "$HOME", "*", "~", "", "'", "''", "%s", "a\u0085b", "\u2028",
]; // prettier-ignore

const base: Asked = {
  model: "smollm2-135m", text: "A b", meaning: { name: "message", label: "", signed: false, token: null }, layer: 5, heads: [], token: null,
  arrows: 10, threshold: 0, first: false, itself: true, told: true,
  streamed: null, written: 0,
}; // prettier-ignore

function has(program: string): boolean {
  try {
    execFileSync(program, ["-c", program === "bash" ? "true" : ""]);
    return true;
  } catch {
    return false;
  }
}

describe("quoting", () => {
  it.runIf(has("bash"))("survives a shell, whatever the text", () => {
    const said = execFileSync("bash", ["--norc", "-c", `printf '%s\\0' ${HOSTILE.map(shell).join(" ")}`], { env: { LC_ALL: "C.UTF-8", SHLVL: "1" } });
    expect(said.toString().split("\0").slice(0, -1)).toEqual(HOSTILE);
  });
  it.runIf(has("python3"))("survives Python, whatever the text", () => {
    const code = `import json\nprint(json.dumps([${HOSTILE.map(python).join(", ")}]))`;
    expect(JSON.parse(execFileSync("python3", ["-c", code]).toString())).toEqual(HOSTILE);
  });
  it("pastes nothing that a terminal would act upon", () => {
    for (const text of HOSTILE) {
      // eslint-disable-next-line no-control-regex
      expect(shell(text)).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u202e]/);
      expect(python(text)).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u202e]/);
    }
    expect(python("\ud800")).toBe('"\\ud800"');
  });
});

describe("copy as Python", () => {
  it("is short where the question is simple", () => {
    expect(asPython(base)).toBe(
      'import sociogram as sg\n\nrec = sg.record(sg.load("smollm2-135m"), "A b")\nedges = rec.edges("message", layer=5, top=10, drop_first=True)\nedges',
    );
  });
  it("asks for the reader alone where nobody can hear the token", () => {
    expect(asPython({ ...base, token: 8, told: false })).toContain('rec.edges("message", layer=5, query=8, top=10, drop_first=True)');
  });
  it("filters what the method cannot", () => {
    const text = asPython({ ...base, token: 3, heads: [1, 4], itself: false, threshold: 0.25, first: true });
    expect(text).toContain("top=None)");
    expect(text).toContain('edges = edges[edges["head"].isin([1, 4]) & ((edges["query"] == 3) | (edges["key"] == 3)) & (edges["query"] != edges["key"])]');
    expect(text).toContain('edges["message"].abs() >= 0.25 * edges["message"].abs().max()');
    expect(text.endsWith("edges.head(10)")).toBe(true);
    expect(text).not.toContain("drop_first");
  });
  it("names the token that arrows go toward, by text or by number", () => {
    const toward = (token: string): Asked => ({ ...base, meaning: { name: "toward", label: "", signed: true, token } });
    expect(asPython(toward(' "Paris"\n'))).toContain('toward=" \\"Paris\\"\\n"');
    expect(asPython(toward("#1234"))).toContain("toward=1234");
    expect(commandGaps({ ...toward("#1234"), token: 2, told: false })).toHaveLength(1);
  });
});

describe("a recording made another way", () => {
  it("is made that way again", () => {
    const streamed = { ...base, streamed: { top: 4, by: "attention" } as const, written: 20 };
    expect(asPython(streamed)).toContain('sg.record(sg.load("smollm2-135m"), "A b", keep="stream", top=4, by="attention", generate=20)');
    expect(asCommand(streamed)).toContain(" --stream --generate 20 --html");
    expect(asPython({ ...base, streamed: { top: 8, by: "message" } })).toContain('"A b", keep="stream", top=8)');
  });
  it("reads a long text from a file", () => {
    const long = { ...base, text: "-a ".repeat(400) };
    expect(asPython(long)).toContain('text = open("text.txt").read()  # the text of this page, 1200 letters\nrec = sg.record(sg.load("smollm2-135m"), text)');
    expect(asCommand(long)).toMatch(/^sociogram look --file text\.txt --model [^ ]+ [^']+$/);
    const { frame } = tinyFrame({ prompt: 4, streamed: { top: 2, by: "message" } });
    const what = asked(frame.header, frame.runs[0]!.info, defaultState(frame), 1);
    expect([what.written, what.streamed?.top]).toEqual([2, 2]);
  });
});

describe("copy as command line", () => {
  it("has the options that there are", () => {
    expect(asCommand({ ...base, token: 8, told: false, heads: [2] })).toBe(
      "sociogram look 'A b' --model smollm2-135m --layer 5 --head 2 --token 8 --top 10 --drop-first --html flock.html",
    );
  });
  it("keeps a text that looks like an option from being one", () => {
    expect(asCommand({ ...base, text: "--help" })).toMatch(/ -- --help$/);
    expect(asCommand({ ...base, text: "-rf 'x'" })).toMatch(/ -- '-rf '\\''x'\\'''$/);
    expect(asCommand({ ...base, meaning: { name: "toward", label: "", signed: true, token: "-x" } })).toContain("--toward=-x");
  });
  it("does not exist where there was no text, and says what it cannot do", () => {
    expect(asCommand({ ...base, text: null })).toBeNull();
    expect(commandGaps({ ...base, itself: false, heads: [1, 2], threshold: 0.1, token: 1 })).toHaveLength(4);
    expect(commandGaps({ ...base, token: 2, told: false })).toEqual([]);
    expect(commandGaps(base)[0]).toContain("always about one token");
  });
  it("comes from a frame's own state", () => {
    const { frame } = tinyFrame({ text: "it's" });
    const state = defaultState(frame);
    const what = asked(frame.header, frame.runs[0]!.info, state, 1);
    expect(what.told).toBe(false); // the last token of a causal model
    expect(asCommand(what)).toContain("sociogram look 'it'\\''s' --model made-up --layer 1 --token 5 --top 10 --drop-first");
  });
});
