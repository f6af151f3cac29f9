/** Sections of the details, and edges as bars. */
import type { ComponentChildren, JSX } from "preact";
import { useStore } from "./context";
import { pullColour, pullSign, pullWord } from "./colour";
import type { EdgeRow } from "./facts";
import { num, signed } from "./text";
import { TokenLink } from "./token";

export function Section({ title, note, children }: { title: ComponentChildren; note?: ComponentChildren; children: ComponentChildren }): JSX.Element {
  return (
    <section class="sg-section">
      <h3>
        {title}
        {note && <small>{note}</small>}
      </h3>
      {children}
    </section>
  );
}

/** One bar each: how large, towards or away, in which head. */
export function EdgeBars({ rows, side }: { rows: EdgeRow[]; side: "heard" | "told" | "both" }): JSX.Element {
  const store = useStore();
  const meaning = store.s.meaning.value;
  const palette = store.palette.value;
  const most = Math.max(...rows.map((row) => Math.abs(row[meaning] ?? 0)), 1e-12);
  const form = meaning === "message" || meaning === "attention" ? num : signed;
  return (
    <ol class={`sg-bars${side === "both" ? " sg-both" : ""}`}>
      {rows.map((row) => (
        <li key={row.edge}>
          <span class="sg-who">
            {side === "both" && (
              <>
                <TokenLink token={row.key} most={9} />
                <span aria-label="told">→</span>
              </>
            )}
            <TokenLink token={side === "heard" ? row.key : row.query} most={side === "both" ? 9 : 14} />
          </span>
          <span class="sg-bar" aria-hidden="true">
            <i style={{ width: `${(Math.abs(row[meaning] ?? 0) / most) * 100}%`, background: pullColour(row.pull, palette) }} />
          </span>
          <span class="sg-number">{form(row[meaning])}</span>
          <span class="sg-pull" title={`pull ${signed(row.pull)}: ${PULLS[pullWord(row.pull)]}`} aria-label={pullWord(row.pull)} style={{ color: pullColour(row.pull, palette) }}>
            {pullSign(row.pull)}
          </span>
          <HeadLink layer={row.layer} head={row.head} />
        </li>
      ))}
    </ol>
  );
}

const PULLS = {
  towards: "the message points towards the sender",
  away: "the message points away from the sender",
  across: "the message points neither towards the sender nor away",
  itself: "a message to itself points nowhere",
};

function HeadLink({ layer, head }: { layer: number; head: number }): JSX.Element {
  const store = useStore();
  const on = store.s.heads.value.includes(head);
  return (
    <button
      type="button"
      class="sg-tag"
      aria-pressed={on}
      title={`head ${head} of layer ${layer}: hover previews, click isolates`}
      onPointerEnter={() => (store.hoverHead.value = { layer, head })}
      onPointerLeave={() => (store.hoverHead.value = null)}
      onFocus={() => (store.hoverHead.value = { layer, head })}
      onBlur={() => (store.hoverHead.value = null)}
      onClick={(event) => store.lockHead(head, event.ctrlKey || event.metaKey)}
    >
      h{head}
    </button>
  );
}
