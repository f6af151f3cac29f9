/** The same table elsewhere: Python and command line that reproduce what is shown. */
import type { Header, Meaning, RunInfo, State, Streamed } from "../types";

/** What the page shows, reduced to what the code needs. */
export interface Asked {
  model: string;
  text: string | null;
  meaning: Meaning;
  layer: number | null;
  heads: number[];
  token: number | null;
  arrows: number;
  threshold: number;
  first: boolean;
  itself: boolean;
  told: boolean; // whether there can be arrows from the token, not only to it
  streamed: Streamed | null;
  written: number; // tokens that the model wrote
}

const LONG = 1000; // letters: longer texts are read from a file
const FILE = "text.txt";

export function asked(header: Header, info: RunInfo, state: State, layer: number | null): Asked {
  const meaning = info.meanings.find((m) => m.name === state.meaning) ?? info.meanings[0]!;
  const { heads, token, first, itself, threshold, arrows } = state;
  const told = !info.causal || token !== info.tokens.length - 1;
  const written = info.prompt === null ? 0 : info.tokens.length - info.prompt;
  return { ...header.source, meaning, layer, heads, token, first, itself, threshold, arrows, told, streamed: info.streamed, written };
}

const PYTHON: Record<string, string> = { "\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t" };
const HIDDEN = /[\u0000-\u001f\u007f-\u00a0\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]|\p{Cs}/gu;

/** A Python string literal in double quotes; what cannot be seen is escaped. */
export function python(text: string): string {
  const safe = text.replace(/[\\"]/g, (letter) => PYTHON[letter]!).replace(HIDDEN, (letter) => {
    const code = letter.codePointAt(0)!;
    return PYTHON[letter] ?? (code < 256 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u${code.toString(16).padStart(4, "0")}`);
  });
  return `"${safe}"`;
}

/** One word for a POSIX shell. Control characters would act on the terminal they are pasted into: `$'…'` (bash, zsh) spells them. */
export function shell(text: string): string {
  if (/^[\w@%+=:,./-]+$/.test(text)) return text;
  if (text.search(HIDDEN) < 0) return `'${text.replaceAll("'", "'\\''")}'`;
  const spelled = text.replace(/[\\']/g, "\\$&").replace(HIDDEN, (letter) => {
    const code = letter.codePointAt(0)!;
    if (code < 128) return { "\n": "\\n", "\r": "\\r", "\t": "\\t" }[letter] ?? `\\${code.toString(8).padStart(3, "0")}`;
    return `\\u${code.toString(16).padStart(4, "0")}`;
  });
  return `$'${spelled}'`;
}

/** Which edges count as this token's: those it heard and those it told. */
function masks(asked: Asked, frame: string): string[] {
  const found: string[] = [];
  if (asked.heads.length > 1) found.push(`${frame}["head"].isin([${asked.heads.join(", ")}])`);
  if (asked.token !== null && asked.told) found.push(`((${frame}["query"] == ${asked.token}) | (${frame}["key"] == ${asked.token}))`);
  if (!asked.itself) found.push(`(${frame}["query"] != ${frame}["key"])`);
  return found;
}

/** A token that no text names stands in the frame as `#` and its number. */
function numbered(asked: Asked): string | null {
  return /^#(\d+)$/.exec(asked.meaning.token ?? "")?.[1] ?? null;
}

export function asPython(asked: Asked): string {
  const name = asked.meaning.name;
  const rest = masks(asked, "edges");
  const cut = asked.threshold > 0;
  const options = [python(name)];
  if (asked.layer !== null) options.push(`layer=${asked.layer}`);
  if (asked.heads.length === 1) options.push(`head=${asked.heads[0]}`);
  if (asked.token !== null && !asked.told) options.push(`query=${asked.token}`);
  options.push(rest.length || cut ? "top=None" : `top=${asked.arrows}`);
  if (!asked.first) options.push("drop_first=True");
  if (name === "toward" && asked.meaning.token !== null) options.push(`toward=${numbered(asked) ?? python(asked.meaning.token)}`);
  const long = asked.text !== null && asked.text.length > LONG;
  const how = [`sg.load(${python(asked.model)})`, long ? "text" : python(asked.text ?? "")];
  if (asked.streamed) how.push('keep="stream"', `top=${asked.streamed.top}`);
  if (asked.streamed?.by === "attention") how.push('by="attention"');
  if (asked.written) how.push(`generate=${asked.written}`);
  const lines = [
    "import sociogram as sg",
    "",
    ...(long ? [`text = open("${FILE}").read()  # the text of this page, ${asked.text!.length} letters`] : []),
    asked.text === null ? "rec = ...  # the tokens that were recorded" : `rec = sg.record(${how.join(", ")})`,
    `edges = rec.edges(${options.join(", ")})`,
  ];
  if (rest.length) lines.push(`edges = edges[${rest.length === 1 ? rest[0]!.replace(/^\((.*)\)$/, "$1") : rest.join(" & ")}]`);
  if (cut) {
    const share = Number(asked.threshold.toPrecision(3));
    lines.push(`edges = edges[edges["${name}"].abs() >= ${share} * edges["${name}"].abs().max()]`);
  }
  lines.push(rest.length || cut ? `edges.head(${asked.arrows})` : "edges");
  return lines.join("\n");
}

/** The nearest that the command line can do, or null where the recording was not made from a text. */
export function asCommand(asked: Asked): string | null {
  if (asked.text === null) return null;
  const words = ["sociogram look"];
  const long = asked.text.length > LONG;
  const leading = !long && asked.text.startsWith("-");
  if (long) words.push("--file", FILE);
  else if (!leading) words.push(shell(asked.text));
  words.push("--model", shell(asked.model));
  if (asked.meaning.name !== "message") words.push("--weight", asked.meaning.name);
  if (asked.meaning.name === "toward" && asked.meaning.token !== null) words.push(`--toward=${shell(asked.meaning.token)}`);
  if (asked.layer !== null) words.push("--layer", String(asked.layer));
  if (asked.heads.length === 1) words.push("--head", String(asked.heads[0]));
  if (asked.token !== null) words.push("--token", String(asked.token));
  words.push("--top", String(asked.arrows));
  if (!asked.first) words.push("--drop-first");
  if (asked.streamed) words.push("--stream");
  if (asked.written) words.push("--generate", String(asked.written));
  words.push("--html", "flock.html");
  if (leading) words.push("--", shell(asked.text));
  return words.join(" ");
}

/** How the command line's table differs from the page's, in words; empty where it does not. */
export function commandGaps(asked: Asked): string[] {
  const gaps: string[] = [];
  if (asked.token !== null && asked.told) gaps.push("lists what the token heard, not what it told");
  if (asked.token === null) gaps.push("is always about one token: the last, unless --token names another");
  if (!asked.itself) gaps.push("also lists what tokens told themselves");
  if (asked.heads.length > 1) gaps.push("takes one head or all, not several");
  if (asked.meaning.name === "toward" && numbered(asked) !== null) gaps.push("cannot be given a token by its number");
  if (asked.threshold > 0) gaps.push("has no threshold");
  return gaps;
}
