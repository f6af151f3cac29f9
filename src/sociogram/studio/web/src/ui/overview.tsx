/** In place of the details while no token is chosen: the loudest messages and the largest moves here. */
import type { JSX } from "preact";
import { useComputed } from "@preact/signals";
import { useStore } from "./context";
import { EdgeBars, Section } from "./bars";
import { TokenLink } from "./token";
import { edgeRow, lengthLine, movedAt } from "./facts";
import { num } from "./text";
import { stopName } from "./stops";
import type { Run } from "../types";

export function movers(run: Run, stop: number, first: boolean, most: number): { token: number; moved: number }[] {
  return run.info.tokens
    .map((_, token) => ({ token, moved: movedAt(run, stop, token) }))
    .filter(({ token, moved }) => (first || token > 0) && moved > 0)
    .sort((a, b) => b.moved - a.moved)
    .slice(0, most);
}

export function Overview(): JSX.Element {
  const store = useStore();
  const at = store.at.value;
  const rows = useComputed(() => Array.from(store.selection.value.edges.subarray(0, 10), (edge) => edgeRow(store.run.value, edge))).value;
  const far = movers(store.run.value, at, store.s.first.value, 8);
  const most = far[0]?.moved ?? 1;
  return (
    <div class="sg-details">
      <header class="sg-title">
        <h2>{stopName(store.info.value.stops[at])}</h2>
      </header>
      <p class="sg-soft sg-small">Choose a token, in the picture or above it, to see what it heard, how far it moved and who is near.</p>
      {store.info.value.prompt !== null && <p class="sg-soft sg-small">{lengthLine(store.info.value)} by the model.</p>}
      {rows.length > 0 && (
        <Section title="The loudest here" note={`by ${store.s.meaning.value}`}>
          <EdgeBars rows={rows} side="both" />
        </Section>
      )}
      {far.length > 0 && (
        <Section title="Moved most to get here">
          <ol class="sg-bars sg-near">
            {far.map(({ token, moved }) => (
              <li key={token}>
                <span class="sg-who">
                  <TokenLink token={token} />
                </span>
                <span class="sg-bar" aria-hidden="true">
                  <i style={{ width: `${(moved / most) * 100}%` }} />
                </span>
                <span class="sg-number">{num(moved)}</span>
              </li>
            ))}
          </ol>
        </Section>
      )}
    </div>
  );
}
