/** Always beside the picture: what it leaves out, and what was checked. */
import type { JSX } from "preact";
import type { ComponentChildren } from "preact";
import { useComputed } from "@preact/signals";
import { useStore } from "./context";
import { allowed, headTotal, meanError, variance } from "./facts";
import { reachLine } from "./reach";
import { count, many, num, percent, quoted } from "./text";
import type { Store } from "../store";

const NOUN = { message: "message norm", attention: "attention", contribution: "contributions’ size", toward: "pushes on the logit" } as const;

/** How many arrows, of how many, carrying what share. */
export function arrowsLine(store: Store): string {
  const { s } = store;
  const chosen = store.drawn.value;
  if (chosen.layer === null) return "No arrows here: tokens hear each other only on the way to a stop after attention.";
  const shown = chosen.edges.length;
  const token = store.hoverHead.value ? null : s.token.value;
  const what = token === null ? "of this layer" : `to or from ${quoted(store.info.value.tokens[token] ?? "")}`;
  if (shown + chosen.hidden === 0) return chosen.counted === "all" ? `There is no arrow ${what}.` : `Of what is said ${what}, nothing is in this file.`;
  const rest = chosen.counted === "all" ? count(shown + chosen.hidden) : `at least ${count(shown + chosen.hidden)}`;
  const share = chosen.total === null || !(chosen.total > 0) ? null : chosen.shown / chosen.total;
  const noun = NOUN[s.meaning.value];
  const carried = share === null ? "" : chosen.counted === "all" ? `: ${percent(share)} of their ${noun}` : `: at most ${percent(share)} of their ${noun}`;
  const same = chosen.heard !== null && Math.abs(chosen.heard.total - (chosen.total ?? 0)) < 1e-6 * chosen.heard.total;
  const heard = same ? "" : chosen.heard && chosen.heard.total > 0 ? ` (${percent(chosen.heard.shown / chosen.heard.total)} of what it heard)` : "";
  return `${many(shown, "arrow")} of ${rest} ${what}${carried}${heard}.`;
}

/** Of a recording that kept no weights: where its arrows come from, and what it cannot show. */
export function streamedLine({ streamed }: Store["info"]["value"]): string {
  if (!streamed) return "";
  const by = streamed.by === "message" ? "message norm" : "attention";
  const kept = streamed.top === 1 ? "the strongest key" : `the ${streamed.top} strongest keys`;
  return `Streamed: arrows are among ${kept} (by ${by}) of each reader and head, sums count all. Messages and attention only: other meanings need every weight.`;
}

/** What is switched off, and how much of the layer that is. */
export function hiddenLine(store: Store): string {
  const { s } = store;
  const layer = store.layer.value;
  const run = store.run.value;
  if (layer === null || (s.first.value && s.itself.value)) return "";
  const kinds: [number, number, number] = [0, 0, 0];
  for (let head = 0; head < run.info.heads; head++) headTotal(run, s.meaning.value, layer, head).forEach((v, k) => (kinds[k]! += Number.isNaN(v) ? 0 : v));
  const whole = allowed(kinds, true, true);
  if (!(whole > 0)) return "";
  const parts: string[] = [];
  if (!s.first.value) parts.push(`what the first token said (${percent(kinds[1] / whole)} of the layer’s ${NOUN[s.meaning.value]})`);
  if (!s.itself.value) parts.push(`what tokens told themselves (${percent(kinds[2] / whole)})`);
  return `Hidden: ${parts.join(", ")}.`;
}

export function projectionLine(store: Store): string {
  const view = store.view.value;
  const { axes, camera, first } = store.s;
  const kept = variance(view.variance, axes.value, camera.value);
  const chance = variance(view.null_variance, axes.value, camera.value);
  const error = meanError(store.run.value, view, store.at.value, axes.value, camera.value, first.value);
  const against = chance === null ? "" : ` (a matched random walk: ${percent(chance)})`;
  const wrong = Number.isNaN(error) ? "" : `; at this stop ${percent(error)} of a point’s distance from the centre is not drawn`;
  return `This plane keeps ${percent(kept)} of the variance of all stops${against}${wrong}.`;
}

export function auditLine(store: Store): string {
  const { relative_error, null_drift, checked } = store.info.value.audit;
  const parts: string[] = [];
  if (relative_error !== null) parts.push(`Account closed${checked === null ? " to" : ":"} ${num(relative_error)}`);
  if (checked !== null) parts.push(`${many(checked, "token")} checked while recording`);
  if (null_drift !== null) parts.push(`null drift ${num(null_drift)}`);
  return parts.join(", ");
}

export function Honesty(): JSX.Element {
  const store = useStore();
  const reached = store.s.panel.value === "reach";
  const arrows = useComputed(() => (store.s.panel.value === "reach" ? reachLine(store) : arrowsLine(store))).value;
  const hidden = useComputed(() => hiddenLine(store)).value;
  const projection = useComputed(() => projectionLine(store)).value;
  const drawn = store.s.panel.value === "flock";
  const note = store.view.value.note;
  const audit = auditLine(store);
  return (
    <div class="sg-honest" role="note" aria-label="What this picture leaves out">
      <Item mark="→">{arrows} {!reached && hidden} {streamedLine(store.info.value)}</Item>
      {drawn && <Item mark="◫">{projection} {note && <em>{note}.</em>}</Item>}
      {audit && <Item mark="✓">{audit}.</Item>}
      {store.reason.value && <Item mark="!">{store.reason.value}</Item>}
    </div>
  ); // prettier-ignore
}

function Item({ mark, children }: { mark: string; children: ComponentChildren }): JSX.Element {
  return (
    <p>
      <b aria-hidden="true">{mark}</b> {children}
    </p>
  );
}
