/** Beside the picture: the chosen token, the heads, the settings. */
import type { JSX } from "preact";
import { useId } from "./ids";
import { useStore } from "./context";
import { Details } from "./details";
import { Heads } from "./heads";
import { Settings } from "./settings";

const TABS = [
  { name: "token", text: "Token" },
  { name: "heads", text: "Heads" },
  { name: "settings", text: "View" },
] as const;

export function Side(): JSX.Element {
  const store = useStore();
  const id = useId();
  const now = store.side.value;
  const turn = (by: number): void => {
    const next = TABS[(TABS.findIndex((tab) => tab.name === now) + by + TABS.length) % TABS.length]!;
    store.side.value = next.name;
    document.getElementById(`${id}-${next.name}`)?.focus();
  };
  return (
    <section class="sg-side" aria-label="Details">
      <div class="sg-card sg-side-card">
        <div class="sg-tabs" role="tablist" aria-label="Details">
          {TABS.map(({ name, text }) => (
            <button
              key={name}
              type="button"
              role="tab"
              id={`${id}-${name}`}
              aria-selected={now === name}
              aria-controls={`${id}-panel`}
              tabIndex={now === name ? 0 : -1}
              onClick={() => (store.side.value = name)}
              onKeyDown={(event) => {
                const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
                if (!by) return;
                event.preventDefault();
                turn(by);
              }}
            >
              {text}
              {name === "heads" && store.s.heads.value.length > 0 && <sup>{store.s.heads.value.join(", ")}</sup>}
            </button>
          ))}
        </div>
        <div class="sg-side-body" role="tabpanel" id={`${id}-panel`} aria-labelledby={`${id}-${now}`} tabIndex={-1}>
          {now === "token" ? <Details /> : now === "heads" ? <Heads /> : <Settings />}
        </div>
      </div>
    </section>
  );
}
