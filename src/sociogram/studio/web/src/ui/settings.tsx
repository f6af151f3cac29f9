/** Which projection, which axes, which recording; and what the marks mean. */
import type { JSX } from "preact";
import { useId } from "./ids";
import { useStore } from "./context";
import { home } from "./actions";
import { Section } from "./bars";
import { Segments } from "./toolbar";
import { TokenText } from "./token";
import { percent } from "./text";
import type { State } from "../types";

const SIDES = ["across", "up", "depth"];

export function Settings(): JSX.Element {
  const store = useStore();
  const { s, frame } = store;
  const info = store.info.value;
  const view = store.view.value;
  const id = useId();
  return (
    <div class="sg-settings">
      {frame.runs.length > 1 && (
        <Section title="Recording in front">
          <Segments
            label="Recording in front"
            values={frame.runs.map((run, i) => ({ value: String(i), text: `${"AB"[i]} ${run.info.name}` }))}
            value={String(s.run.value)}
            onChange={(run) => store.set({ run: Number(run) })}
          />
          <p class="sg-soft sg-small">Both are drawn in the axes of the first, so that what differs is the tokens and not the axes. The other one is a ghost (g); a swaps them.</p>
        </Section>
      )}
      <Section title="Projection">
        <select
          aria-label="Projection"
          value={view.name}
          onChange={(event) => store.set({ view: event.currentTarget.value, axes: [0, 1, 2] })}
        >
          {info.views.map(({ name, label }) => (
            <option key={name} value={name}>
              {label}
            </option>
          ))}
        </select>
        {view.note && <p class="sg-small">{view.note}</p>}
        {view.fitted_without.length > 0 && (
          <p class="sg-soft sg-small">
            Fitted without{" "}
            {view.fitted_without.slice(0, 4).map((token, i) => (
              <>
                {i > 0 && ", "}
                <TokenText text={info.tokens[token] ?? "?"} most={12} /> ({token})
              </>
            ))}
            , whose length would take the first axes for itself.
          </p>
        )}
        {SIDES.map((side, axis) => (
          <div class="sg-row" key={side}>
            <label for={`${id}-${axis}`}>{side}</label>
            <select
              id={`${id}-${axis}`}
              value={s.axes.value[axis]}
              onChange={(event) => {
                const axes = [...s.axes.value] as State["axes"];
                axes[axis] = Number(event.currentTarget.value);
                s.axes.value = axes;
              }}
            >
              {view.components.map((name, i) => (
                <option key={name} value={i}>
                  {name} · {percent(view.variance[i])}
                  {view.null_variance ? ` (chance ${percent(view.null_variance[i])})` : ""}
                </option>
              ))}
            </select>
          </div>
        ))}
        <button type="button" class="sg-button" onClick={() => (s.camera.value = home(s.camera.value))}>
          Reset the view
        </button>
      </Section>
      <Section title="Arrows">
        <Threshold />
        <label class="sg-check">
          <input
            type="checkbox"
            checked={s.layer.value !== null}
            onChange={(event) => (s.layer.value = event.currentTarget.checked ? store.layer.peek() : null)}
          />
          hold the arrows{s.layer.value !== null ? ` of layer ${s.layer.value}` : " of this layer"} while the tokens move on
        </label>
      </Section>
      <Section title="How to read the picture">
        <Legend />
      </Section>
    </div>
  );
}

function Threshold(): JSX.Element {
  const { s } = useStore();
  const id = useId();
  return (
    <div title="{ and }">
      <label for={id}>none smaller than {percent(s.threshold.value)} of the largest</label>
      <input
        id={id}
        type="range"
        min="0"
        max="1"
        step="0.01"
        aria-valuetext={`none smaller than ${percent(s.threshold.value)} of the largest`}
        value={s.threshold.value}
        onInput={(event) => (s.threshold.value = Number(event.currentTarget.value))}
      />
    </div>
  );
}

export function Legend(): JSX.Element {
  const palette = useStore().palette.value;
  const arrow = (colour: string): JSX.Element => (
    <svg width="34" height="12" aria-hidden="true">
      <path d="M2 6h22" stroke={colour} stroke-width="3" stroke-linecap="round" />
      <path d="M23 1.500L32 6l-9 4.500z" fill={colour} />
    </svg>
  );
  return (
    <ul class="sg-legend">
      <li>{arrow(palette.attract)} from the sender to the reader: drawn towards the sender (→←)</li>
      <li>{arrow(palette.repel)} pushed away from the sender (←→)</li>
      <li>{arrow(palette.neutral)} neither, or not known</li>
      <li>The wider an arrow, the larger what it means (message, attention, …).</li>
      <li>A faint tail: where the token came from, a half-step ago.</li>
      <li>Bars over the timeline: how far the chosen token moved to get to each stop.</li>
      <li>A ring: what a token told itself.</li>
      <li>Timeline: ● after attention, ■ after the MLP, ◆ start, or both at once. Nothing exists between two marks; motion there only joins them.</li>
    </ul>
  );
}
