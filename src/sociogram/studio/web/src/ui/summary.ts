/** The layer in words: for the caption of the picture, and for ears. */
import type { Run, Selection, State } from "../types";
import { allowed, edgeRow, edgesOf, layerEdges, mover, moves, movedAt, neighbours, readerTotal, wordAt } from "./facts";
import { partName } from "./stops";
import { count, many, num, percent, quoted } from "./text";
import { pullWord } from "./colour";

const UNIT = { message: "message", attention: "attention", contribution: "contribution", toward: "logit" } as const;

/** Who is spoken of: the chosen token, else the one that moved most. */
export function subject(run: Run, state: Pick<State, "token" | "first">, stop: number): number | null {
  return state.token ?? mover(run, stop, state.first);
}

/** ‘ of’ moved 14.2; loudest was ‘iffel’, through head 4. */
export function caption(run: Run, state: State, stop: number): string {
  const here = run.info.stops[stop];
  const token = subject(run, state, stop);
  if (!here || token === null) return "";
  const name = quoted(run.info.tokens[token]!);
  if (here.layer < 0) return state.token === null ? "Where the tokens start, before anyone has said anything" : `${name}, before anyone has said anything`;
  const far = num(movedAt(run, stop, token));
  const most = state.token === null ? `${name} moved most, ${far}` : `${name} moved ${far}`;
  if (here.part === "mlp") return `${most}, by itself: the MLP reads one token at a time`;
  const [top] = edgesOf(run, here.layer, token, "heard", state.meaning, { ...state, most: 1 }).rows;
  if (!top) return `${most}; nothing that it heard here is ${layerEdges(run, here.layer).length ? "in this file" : "known"}`;
  const who = top.key === token ? "what it told itself" : quoted(run.info.tokens[top.key]!);
  return `${most}; loudest was ${who}, through head ${top.head}`;
}

/** A few sentences that say what the picture shows. */
export function summary(run: Run, state: State, stop: number, selection: Selection): string {
  const here = run.info.stops[stop];
  if (!here) return "";
  const place = here.layer < 0 ? "Before the first layer" : `${upper(partName(here.part))} in layer ${here.layer} of ${run.info.layers.length}`;
  const parts = [`${place}: ${caption(run, state, stop)}.`];
  const token = subject(run, state, stop);
  if (token !== null) parts.push(...aboutToken(run, state, stop, token));
  parts.push(aboutArrows(run, state, selection));
  return parts.filter(Boolean).join(" ");
}

function upper(text: string): string {
  return text.slice(0, 1).toUpperCase() + text.slice(1);
}

function aboutToken(run: Run, state: State, stop: number, token: number): string[] {
  const here = run.info.stops[stop]!;
  const found: string[] = [];
  if (here.layer >= 0 && here.part !== "mlp") {
    const heard = edgesOf(run, here.layer, token, "heard", state.meaning, { ...state, most: 3 });
    const total = allowed(readerTotal(run, state.meaning, here.layer, token), state.first, state.itself);
    const names = heard.rows.map((row) => `${quoted(run.info.tokens[row.key]!)} ${num(row[state.meaning])} (head ${row.head}, ${pullWord(row.pull)})`);
    if (names.length) found.push(`Loudest: ${names.join(", ")}${total > 0 ? `; ${percent(heard.shown / total)} of what it heard` : ""}.`);
    const parts = moves(run, here.layer, token);
    found.push(`Moved by others ${num(parts.from_others)}, by itself ${num(parts.from_itself)}, by the MLP ${num(parts.mlp)}${parts.from_outside > 0 ? `, from outside ${num(parts.from_outside)}` : ""}.`);
  }
  const [near] = neighbours(run, stop, token);
  if (near) found.push(`Nearest in the full space: ${quoted(run.info.tokens[near.token]!)} at ${num(near.distance)}.`);
  const word = wordAt(run, stop, token);
  if (word) found.push(`The lens reads ${quoted(word.text)} (${percent(word.probability)}).`);
  return found;
}

function aboutArrows(run: Run, state: State, selection: Selection): string {
  if (!selection.edges.length) return "No arrows.";
  const top = edgeRow(run, selection.edges[0]!);
  const share = selection.total !== null && selection.total > 0 ? `, ${percent(selection.shown / selection.total)} of ${selection.counted === "all" ? "the" : "this file’s"} ${UNIT[state.meaning]}` : "";
  const strongest = `the strongest from ${quoted(run.info.tokens[top.key]!)} to ${quoted(run.info.tokens[top.query]!)}`;
  return `${many(selection.edges.length, "arrow")} of ${count(selection.edges.length + selection.hidden)}${share}; ${strongest}.`;
}
