/** Search a token by its text or its position. Enter goes to the next one found. */
import type { JSX } from "preact";
import { useSignal } from "@preact/signals";
import { useStore } from "./context";

/**
 * Tokens that match, in reading order. A number is a position; text may run over several tokens, and then stands for the last
 * of them, which is the one that knows the whole of it.
 */
export function found(tokens: readonly string[], wanted: string): number[] {
  if (wanted.trim() === "") return [];
  const hits = new Set<number>();
  const place = /^\d+$/.test(wanted.trim()) ? Number(wanted) : -1;
  if (place >= 0 && place < tokens.length) hits.add(place);
  const [all, small] = [tokens.map((token) => token.toLowerCase()), wanted.toLowerCase()];
  const whole = all.join("");
  let [token, end] = [0, all[0]?.length ?? 0];
  for (let at = whole.indexOf(small); at >= 0; at = whole.indexOf(small, at + 1)) {
    while (end < at + small.length && token < all.length - 1) end += all[++token]!.length;
    hits.add(token);
  }
  return [...hits];
}

export function Search(): JSX.Element {
  const store = useStore();
  const wanted = useSignal("");
  const hits = found(store.info.value.tokens, wanted.value);
  const now = hits.indexOf(store.s.token.value ?? -1);
  const show = (by: 1 | -1): void => {
    if (!hits.length) return;
    const from = store.s.token.value ?? -1;
    const later = by > 0 ? hits.find((t) => t > from) : hits.findLast((t) => t < from);
    store.choose(later ?? (by > 0 ? hits[0]! : hits.at(-1)!));
  };
  return (
    <div class="sg-search" role="search">
      <input
        class="sg-input"
        type="search"
        data-search
        placeholder="Find a token"
        aria-label="Find a token by text or position"
        value={wanted.value}
        onInput={(event) => {
          wanted.value = event.currentTarget.value;
          const first = found(store.info.value.tokens, wanted.value)[0];
          store.hover.value = first ?? null;
        }}
        onBlur={() => (store.hover.value = null)}
        onKeyDown={(event) => {
          if (event.key === "Enter") show(event.shiftKey ? -1 : 1);
          else if (event.key === "Escape") {
            wanted.value = "";
            event.currentTarget.blur();
          } else return;
          event.preventDefault();
          event.stopPropagation();
        }}
      />
      {wanted.value && (
        <span class="sg-small sg-soft" role="status">
          {hits.length ? (now >= 0 ? `${now + 1} of ${hits.length}` : `${hits.length} found`) : "none"}
        </span>
      )}
    </div>
  );
}
