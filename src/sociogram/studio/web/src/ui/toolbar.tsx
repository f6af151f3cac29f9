/** Above the picture: which picture, what its arrows mean, how many. */
import type { JSX } from "preact";
import { useId } from "./ids";
import { useStore } from "./context";
import { stepCount, PANELS } from "./actions";
import { count, quoted } from "./text";
import type { Meaning, State } from "../types";

const PANEL_NAMES: Record<State["panel"], string> = { flock: "Flock", arcs: "Arcs", reach: "Reach", table: "Table" };
const HINTS: Record<State["panel"], string> = {
  flock: "where the tokens are, and who moves whom",
  arcs: "who tells whom, in reading order",
  reach: "which tokens could have told this one",
  table: "the same numbers as tables",
};

export function meaningName(meaning: Meaning): string {
  return meaning.name === "toward" && meaning.token !== null ? `toward ${quoted(meaning.token)}` : meaning.name;
}

export const MEANING_HINTS: Record<Meaning["name"], string> = {
  message: "length of the vector that the sender told the reader",
  attention: "attention weight: how much the reader listened, not how much it was told",
  contribution: "share of the reader's whole attention move; negative where a message works against it",
  toward: "what the message adds directly to this next token's logit",
};

/** Which picture; stands on it. */
export function Panels(): JSX.Element {
  const { s } = useStore();
  return (
    <Segments
      label="Picture"
      values={PANELS.map((panel) => ({ value: panel, text: PANEL_NAMES[panel], hint: HINTS[panel] }))}
      value={s.panel.value}
      onChange={(panel) => (s.panel.value = panel)}
    />
  );
}

export function Toolbar(): JSX.Element {
  const store = useStore();
  const { s } = store;
  const inside = (
    <div class="sg-bar-row sg-tools">
      <Segments
        label="Meaning of the arrows"
        values={store.info.value.meanings.map((m) => ({ value: m.name, text: meaningName(m), hint: MEANING_HINTS[m.name] }))}
        value={s.meaning.value}
        onChange={(meaning) => (s.meaning.value = meaning)}
      />
      <Arrows />
      <Check name="first" text="first token" hint="the first token soaks up attention: shown or left out (f)" />
      <Check name="itself" text="to itself" hint="what tokens told themselves, as rings (i)" />
      <Check name="words" text="words" hint="what the logit lens reads at each point (w)" />
      {store.frame.runs.length > 1 && <Check name="ghosts" text="ghosts" hint="the other recording behind this one (g)" />}
    </div>
  );
  if (!store.compact.value) return inside;
  return (
    <details class="sg-more">
      <summary class="sg-button">
        Arrows: {s.meaning.value}, {count(s.arrows.value)}
      </summary>
      {inside}
    </details>
  );
}

interface Segment<V extends string> {
  value: V;
  text: string;
  hint?: string;
}

/** Radio buttons that look like one switch. */
export function Segments<V extends string>(props: { label: string; values: Segment<V>[]; value: V; onChange: (value: V) => void }): JSX.Element {
  const name = useId();
  return (
    <div class="sg-segments" role="radiogroup" aria-label={props.label}>
      {props.values.map(({ value, text, hint }) => (
        <label key={value} title={hint}>
          <input type="radio" name={name} value={value} checked={props.value === value} onChange={() => props.onChange(value)} />
          <span>{text}</span>
        </label>
      ))}
    </div>
  );
}

function Arrows(): JSX.Element {
  const { s } = useStore();
  const id = useId();
  return (
    <span class="sg-slider" title="how many arrows at most ( [ and ] )">
      <label for={id}>
        {count(s.arrows.value)} {s.arrows.value === 1 ? "arrow" : "arrows"}
      </label>
      <input
        id={id}
        type="range"
        min="0"
        max="1"
        step="0.001"
        aria-valuetext={`at most ${count(s.arrows.value)} arrows`}
        value={Math.log(s.arrows.value) / Math.log(3000)}
        onInput={(event) => (s.arrows.value = Math.round(3000 ** Number(event.currentTarget.value)))}
        onKeyDown={(event) => {
          const by = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key] as 1 | -1 | undefined;
          if (!by) return;
          event.preventDefault();
          s.arrows.value = stepCount(s.arrows.value, by);
        }}
      />
    </span>
  );
}

export function Check({ name, text, hint }: { name: "first" | "itself" | "words" | "ghosts"; text: string; hint: string }): JSX.Element {
  const { s } = useStore();
  return (
    <label class="sg-check" title={hint}>
      <input type="checkbox" checked={s[name].value} onChange={(event) => (s[name].value = event.currentTarget.checked)} />
      {text}
    </label>
  );
}
