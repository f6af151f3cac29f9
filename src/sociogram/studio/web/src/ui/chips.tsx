/** The prompt as chips. Pieces of one word stand together; long prompts are shown a page at a time. */
import type { JSX } from "preact";
import { memo } from "./memo";
import { useComputed, useSignalEffect } from "@preact/signals";
import { useRef } from "preact/hooks";
import { useStore } from "./context";
import { written } from "./facts";
import { count, joins, percent, plain, short } from "./text";

const PAGE = 300;

export function Chips(): JSX.Element {
  const store = useStore();
  const list = useRef<HTMLDivElement>(null);
  const { s, info } = store;
  const page = useComputed(() => Math.floor((s.token.value ?? 0) / PAGE) * PAGE);
  const { tokens, prompt } = info.value;
  const [from, to] = [page.value, Math.min(tokens.length, page.value + PAGE)];
  useSignalEffect(() => {
    const token = s.token.value;
    const box = list.current;
    const chip = token === null ? null : box?.querySelector<HTMLElement>(`[data-token="${token}"]`);
    if (!box || !chip) return;
    const room = chip.offsetWidth + 40; // scrolls this list and nothing around it
    if (chip.offsetLeft < box.scrollLeft + room) box.scrollLeft = chip.offsetLeft - room;
    else if (chip.offsetLeft + room > box.scrollLeft + box.clientWidth) box.scrollLeft = chip.offsetLeft + room - box.clientWidth;
    if (chip.offsetTop < box.scrollTop) box.scrollTop = chip.offsetTop - 4;
    else if (chip.offsetTop + chip.offsetHeight > box.scrollTop + box.clientHeight) box.scrollTop = chip.offsetTop + chip.offsetHeight - box.clientHeight;
  });
  const joined = useComputed(() => joins(info.value.tokens)).value;
  const turn = (to: number): void => store.choose(to);
  return (
    <div class="sg-prompt">
    <div class="sg-chips" role="group" aria-label="The prompt's tokens" ref={list}>
      {from > 0 && (
        <button type="button" class="sg-turn" onClick={() => turn(from - 1)}>
          ← {count(from)} before
        </button>
      )}
      {tokens.slice(from, to).map((text, i) => (
        <Chip key={from + i} token={from + i} text={text} joins={joined[from + i]! && from + i !== prompt} />
      ))}
      {to < tokens.length && (
        <button type="button" class="sg-turn" onClick={() => turn(to)}>
          {count(tokens.length - to)} more →
        </button>
      )}
    </div>
    <Predictions />
    </div>
  ); // prettier-ignore
}

/** What the model would say next: the sentence goes on, as likely as each is. */
function Predictions(): JSX.Element | null {
  const predictions = useStore().info.value.predictions.slice(0, 4);
  if (!predictions.length) return null;
  return (
    <ol class="sg-next" aria-label="What the model says next">
      {predictions.map(({ token, probability }) => (
        <li key={token}>
          <bdi>{short(plain(token), 14)}</bdi> <small>{percent(probability)}</small>
          <span class="sg-bar" aria-hidden="true">
            <i style={{ width: `${Math.max(2, probability * 100)}%` }} />
          </span>
        </li>
      ))}
    </ol>
  );
}

const Chip = memo(function Chip({ token, text, joins }: { token: number; text: string; joins: boolean }): JSX.Element {
  const store = useStore();
  const { s } = store;
  const chosen = useComputed(() => s.token.value === token).value;
  const pinned = useComputed(() => s.pins.value.includes(token)).value;
  const lit = useComputed(() => store.hover.value === token).value;
  const stop = useComputed(() => (s.token.value ?? 0) === token).value; // the one chip that Tab comes to
  const faint = useComputed(() => token === 0 && !s.first.value && s.token.value !== 0).value;
  const shown = plain(text);
  const own = written(store.info.value, token);
  return (
    <button
      type="button"
      class={`sg-chip${joins ? " sg-joins" : ""}${pinned ? " sg-pinned" : ""}${lit ? " sg-lit" : ""}${faint ? " sg-faint" : ""}${own ? " sg-written" : ""}${token === store.info.value.prompt ? " sg-begins" : ""}`}
      data-token={token}
      tabIndex={stop ? 0 : -1}
      aria-pressed={chosen}
      aria-label={`token ${token}, ${shown}${own ? ", written by the model" : ""}${pinned ? ", pinned" : ""}${faint ? ", hidden in the picture" : ""}`}
      title={`token ${token}${own ? ", written by the model" : ""}${faint ? " (hidden: it soaks up attention; press f)" : ""}`}
      onPointerEnter={() => (store.hover.value = token)}
      onPointerLeave={() => (store.hover.value = null)}
      onClick={(event) => {
        if (event.ctrlKey || event.metaKey || event.shiftKey) store.pin(token);
        else store.choose(chosen ? null : token);
      }}
    >
      <bdi>{short(shown, 24)}</bdi>
    </button>
  );
});
