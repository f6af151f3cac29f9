/** A token's text, wherever it stands: never markup, never able to turn its surroundings around. `exact` keeps its spaces. */
import type { JSX } from "preact";
import { useStore } from "./context";
import { plain, short, spaced } from "./text";

export function TokenText({ text, most = 40, exact = false }: { text: string; most?: number; exact?: boolean }): JSX.Element {
  return <bdi>{short(exact ? spaced(text) : plain(text), most)}</bdi>;
}

/** A token that can be looked at: hovering previews it, a click chooses it, with ctrl or shift it is pinned. */
export function TokenLink({ token, most = 18 }: { token: number; most?: number }): JSX.Element {
  const store = useStore();
  const text = store.info.value.tokens[token] ?? "";
  return (
    <button
      type="button"
      class="sg-link"
      title={`token ${token}: ${spaced(text)}`}
      onPointerEnter={() => (store.hover.value = token)}
      onPointerLeave={() => (store.hover.value = null)}
      onFocus={() => (store.hover.value = token)}
      onBlur={() => (store.hover.value = null)}
      onClick={(event) => (event.ctrlKey || event.metaKey || event.shiftKey ? store.pin(token) : store.choose(token))}
    >
      <TokenText text={text} most={most} />
      <sub>{token}</sub>
    </button>
  );
}
