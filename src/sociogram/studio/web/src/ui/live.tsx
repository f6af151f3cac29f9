/** Says what is shown, for ears: when a stop is reached and not while playing. */
import type { JSX } from "preact";
import { useSignal, useSignalEffect } from "@preact/signals";
import { useStore } from "./context";
import { summary } from "./summary";
import type { Store } from "../store";

export function summaryOf(store: Store): string {
  return summary(store.run.value, store.state(), store.at.value, store.selection.value);
}

export function Live(): JSX.Element {
  const store = useStore();
  const text = useSignal("");
  useSignalEffect(() => {
    if (store.s.playing.value) return;
    const next = summaryOf(store);
    const timer = setTimeout(() => (text.value = next), 450);
    return () => clearTimeout(timer);
  });
  return (
    <div class="sg-unseen" role="status" aria-live="polite" aria-atomic="true">
      {text.value}
    </div>
  );
}
