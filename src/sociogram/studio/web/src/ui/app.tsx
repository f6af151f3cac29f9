/** The whole page, and what belongs to all of it: keys, theme, width. */
import type { JSX } from "preact";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import type { Store } from "../store";
import { act } from "./actions";
import { runClock } from "./clock";
import { StoreContext } from "./context";
import { Dialogs } from "./dialogs";
import { Header } from "./header";
import { Help } from "./help";
import { Honesty } from "./honesty";
import { actionOf, focusOf } from "./keys";
import { Live } from "./live";
import { Side } from "./side";
import { Stage } from "./stage";
import { Timeline } from "./timeline";
import { Toolbar } from "./toolbar";

const NARROW = 1000;

export function App({ store }: { store: Store }): JSX.Element {
  const root = useRef<HTMLDivElement>(null);
  useMedia(store);
  useLayoutEffect(() => {
    const element = root.current!;
    const measure = (): void => void (store.compact.value = element.clientWidth > 0 && element.clientWidth < NARROW);
    measure();
    if (typeof ResizeObserver === "undefined") return;
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    return () => observer.disconnect();
  }, [store]);
  useEffect(() => runClock(store), [store]);
  useEffect(() => {
    const press = (event: KeyboardEvent): void => {
      const element = root.current;
      if (!element || event.defaultPrevented || event.isComposing) return;
      const active = deepest();
      const mine = element.contains(active);
      if (!mine && !(alone(store) && (!active || active === document.body))) return;
      if (active?.closest("dialog") && event.key !== "Escape" && event.key !== "?") return;
      const action = actionOf(event, mine ? focusOf(active) : "none");
      if (!action) return;
      event.preventDefault();
      event.stopPropagation();
      act(store, action, element);
    };
    document.addEventListener("keydown", press);
    return () => document.removeEventListener("keydown", press);
  }, [store]);
  return (
    <StoreContext.Provider value={store}>
      <div class={`sg ${store.embedded ? "sg-embedded" : "sg-page"}`} data-sociogram data-theme={store.dark.value ? "dark" : "light"} ref={root}>
        <div class="sg-frame">
          <Header />
          <div class="sg-body">
            <section class="sg-left" aria-label="The flock">
              {!store.compact.value && <Toolbar />}
              <Stage />
              {store.compact.value && <Toolbar />}
              <Honesty />
              <Timeline />
            </section>
            <Side />
          </div>
        </div>
        <Live />
        <Help />
        <Dialogs />
      </div>
    </StoreContext.Provider>
  );
}

/** What has the focus, also inside of a shadow root. */
function deepest(): Element | null {
  let active = document.activeElement;
  while (active?.shadowRoot?.activeElement) active = active.shadowRoot.activeElement;
  return active;
}

/** A page of its own listens without being clicked first, unless there are several. */
function alone(store: Store): boolean {
  return !store.embedded && document.querySelectorAll("[data-sociogram]").length === 1;
}

function useMedia(store: Store): void {
  useLayoutEffect(() => {
    if (typeof matchMedia === "undefined") return;
    const pairs = [
      [matchMedia("(prefers-color-scheme: dark)"), store.night],
      [matchMedia("(prefers-reduced-motion: reduce)"), store.still],
    ] as const;
    const ends = pairs.map(([query, signal]) => {
      const take = (): void => void (signal.value = query.matches);
      take();
      query.addEventListener("change", take);
      return () => query.removeEventListener("change", take);
    });
    return () => ends.forEach((end) => end());
  }, [store]);
}
