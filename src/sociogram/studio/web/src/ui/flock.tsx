/** The picture itself: owns a renderer, tells it what to draw, and when. */
import type { JSX, RefObject } from "preact";
import { effect, untracked } from "@preact/signals";
import { useEffect, useRef, useState } from "preact/hooks";
import { chooseLabels, createRenderer, wordAt } from "../engine";
import type { Insets, Label, Renderer, Scene } from "../types";
import type { Store } from "../store";
import { useStore } from "./context";
import { listen } from "./gestures";
import { TokenText } from "./token";
import { edgesOf, movedAt } from "./facts";
import { num, percent, plain } from "./text";

export function sceneOf(store: Store, labels: Label[]): Scene {
  const { s } = store;
  return {
    time: store.shown.value, view: store.view.value, axes: s.axes.value, camera: s.camera.value, selection: store.drawn.value,
    meaning: s.meaning.value, first: s.first.value, itself: s.itself.value, token: s.token.value, hover: store.hover.value,
    pins: s.pins.value, ghosts: s.ghosts.value, labels, colours: store.palette.value,
    insets: insetsOf(store.compact.value),
  }; // prettier-ignore
}

/** Room for the title above, and for texts to the right of their points. */
function insetsOf(compact: boolean): Insets {
  return compact ? WITHIN.small : WITHIN.large;
}

const WITHIN = { small: { top: 84, right: 44, bottom: 24, left: 0 }, large: { top: 62, right: 70, bottom: 16, left: 30 } };

const SETTLE = 160; // milliseconds between two layouts of the texts while something moves

export function Flock(): JSX.Element {
  const store = useStore();
  const host = useRef<HTMLDivElement>(null);
  const seen = useOnScreen(host, store.embedded);
  useEffect(() => {
    const element = host.current;
    return element && seen ? draw(element, store) : undefined;
  }, [store, seen]);
  return (
    <div class="sg-flock" ref={host}>
      <Tip />
    </div>
  );
}

/** A page has few WebGL pictures to give: one of several lets go of its own while it is scrolled out of sight. */
function useOnScreen(host: RefObject<HTMLElement | null>, asked: boolean): boolean {
  const [seen, set] = useState(true);
  useEffect(() => {
    if (!asked || !host.current || typeof IntersectionObserver === "undefined") return;
    const observer = new IntersectionObserver((entries) => set(entries.at(-1)!.isIntersecting), { rootMargin: "300px" });
    observer.observe(host.current);
    return () => observer.disconnect();
  }, [asked]);
  return seen;
}

/** Keeps the picture up to date until told to stop. */
function draw(host: HTMLElement, store: Store): () => void {
  let frame = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let labels: Label[] = [];
  let laid = 0;
  let stale = true; // texts must be placed anew
  let size: [number, number] = [0, 0];
  const { renderer, reason, mostArrows } = createRenderer(host, store.prefer, (lost) => {
    store.reason.value = lost ? "The browser took the picture’s memory away; it comes back when there is some." : null;
    if (!lost) request();
  });
  store.renderer.value = renderer.kind;
  store.reason.value = reason;
  store.mostArrows.value = mostArrows;
  store.drawing = renderer;
  const request = (): void => {
    frame ||= requestAnimationFrame(paint);
  };
  const resize = (): void => {
    const [width, height] = [host.clientWidth, host.clientHeight];
    if (!width || !height || (size[0] === width && size[1] === height)) return;
    size = [width, height];
    renderer.resize(width, height, Math.min(2, devicePixelRatio || 1));
    stale = true;
    request();
  };
  const paint = (): void => {
    frame = 0;
    if (!size[0]) return;
    const scene = untracked(() => sceneOf(store, labels));
    const moving = !Number.isInteger(scene.time);
    renderer.draw(scene);
    const now = performance.now();
    if (stale && (!moving || labels.length === 0 || now - laid > 4 * SETTLE)) {
      if (now - laid < SETTLE && labels.length) {
        clearTimeout(timer);
        timer = setTimeout(request, SETTLE);
      } else {
        stale = false;
        laid = now;
        const room = { width: size[0], height: size[1] };
        labels = untracked(() => chooseLabels(store.run.value, store.peek(), scene.selection, scene.hover, Math.round(scene.time), (token) => renderer.place(token), room)).map(tidy);
        keepClear(labels, renderer, host);
        renderer.draw({ ...scene, labels });
      }
    }
    store.frameMs.value = renderer.lastFrameMs;
    store.settled.value = !moving && !stale;
  };
  const ends = [
    effect(() => {
      renderer.setRun(store.run.value, store.other.value);
      laid = 0;
    }),
    effect(() => {
      sceneOf(store, labels); // subscribes to all that is drawn
      void store.s.words.value;
      stale = true;
      store.settled.value = false;
      request();
    }),
    effect(() => {
      void [store.s.token.value, store.hover.value, store.drawn.value, store.s.words.value, store.view.value, store.s.axes.value, store.palette.value];
      laid = 0; // what changed by choice is laid out at once
    }),
    listen(host, store, () => renderer, () => (!store.embedded && !store.compact.peek()) || (host.closest(".sg")?.contains(document.activeElement) ?? false)),
  ]; // prettier-ignore
  const observer = typeof ResizeObserver === "undefined" ? null : new ResizeObserver(resize);
  observer?.observe(host);
  resize();
  return () => {
    cancelAnimationFrame(frame);
    clearTimeout(timer);
    observer?.disconnect();
    for (const end of ends) end();
    store.drawing = null;
    store.mostArrows.value = 3000;
    renderer.dispose();
  };
}

/** Spaces around a token say nothing on the picture; the chips show which pieces make one word. */
export function tidy(label: Label): Label {
  return label.word === undefined ? { ...label, text: plain(label.text) } : { ...label, text: plain(label.text), word: plain(label.word) };
}

/** Texts under the title, which stands over the picture, would be read with it: they are left out. */
function keepClear(labels: Label[], renderer: Renderer, host: HTMLElement): void {
  const title = host.parentElement?.querySelector(".sg-caption")?.getBoundingClientRect();
  if (!title) return;
  const box = host.getBoundingClientRect();
  for (let i = labels.length - 1; i >= 0; i--) {
    const label = labels[i]!;
    const at = renderer.place(label.token);
    if (label.strong || !at) continue;
    if (at[0] + box.left < title.right && at[1] + box.top < title.bottom) labels.splice(i, 1);
  }
}

/** What is under the pointer, in a few words. The details say the same and more, and need no pointer. */
function Tip(): JSX.Element | null {
  const store = useStore();
  const token = store.hover.value;
  const at = store.at.value;
  const spot = token === null ? null : store.drawing?.place(token);
  if (token === null || !spot || store.s.playing.value) return null;
  const run = store.run.value;
  const layer = store.layer.value;
  const { s } = store;
  const options = { first: s.first.value, itself: s.itself.value, heads: s.heads.value, most: 2 };
  const heard = layer === null ? [] : edgesOf(run, layer, token, "heard", s.meaning.value, options).rows;
  const word = wordAt(run, at, token);
  const left = spot[0] > 360;
  return (
    <div class={`sg-tip${left ? " sg-left-of" : ""}`} aria-hidden="true" style={{ left: `${spot[0]}px`, top: `${spot[1]}px` }}>
      <b>
        <TokenText text={run.info.tokens[token]!} most={28} /> <small>token {token}</small>
      </b>
      <span>moved {num(movedAt(run, at, token))} to get here</span>
      {heard.map((row) => (
        <span key={row.edge}>
          heard in layer {layer}: <TokenText text={run.info.tokens[row.key]!} most={14} /> {num(row[s.meaning.value])} (head {row.head})
        </span>
      ))}
      {word && (
        <span>
          lens: <TokenText text={word.text} most={14} /> {percent(word.probability)}
        </span>
      )}
    </div>
  );
}
