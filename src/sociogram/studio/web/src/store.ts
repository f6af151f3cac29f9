/** What one page knows: a signal for each thing a person can set, and everything that follows from them. */
import { batch, computed, effect, signal, type ReadonlySignal, type Signal } from "@preact/signals";
import { attentionLayer, defaultState, fromFragment, reach, select, toFragment, type Prefer, type Reach } from "./engine";
import type { Frame, Palette, Renderer, Run, RunInfo, Selection, State, ViewInfo } from "./types";
import { DARK, LIGHT } from "./ui/colour";

export type Signals = { [Key in keyof State]: Signal<State[Key]> };

export interface HeadPlace {
  layer: number;
  head: number;
}

export interface StoreOptions {
  /** Keep the state in the page's address. Off for widgets, which share their page with others. */
  address?: boolean;
  initial?: Partial<State>;
  embedded?: boolean;
  prefer?: Prefer;
}

const MOST_ARCS = 600; // drawn at once in the arc view, which is SVG

const KEYS = (state: State): (keyof State)[] => Object.keys(state) as (keyof State)[];

export class Store {
  readonly frame: Frame;
  readonly defaults: State;
  readonly s: Signals;
  // what no address holds
  readonly hover = signal<number | null>(null);
  readonly hoverHead = signal<HeadPlace | null>(null);
  readonly side = signal<"token" | "heads" | "settings">("token");
  readonly dialog = signal<"code" | "picture" | null>(null);
  readonly measure = signal("");
  readonly reachShare = signal(0.1); // a step of the reach view is at least this share of what its reader heard
  readonly reason = signal<string | null>(null); // why there is no WebGL2, or what went wrong
  readonly renderer = signal<"webgl2" | "svg" | null>(null);
  readonly frameMs = signal(0);
  readonly shown: Signal<number>; // the time drawn: follows the stop, gliding
  readonly settled = signal(false); // the picture is at rest, its texts in place
  readonly budget = signal(3000); // arrows that this machine can move while playing
  readonly mostArrows = signal(3000); // and that the renderer can draw at all
  readonly compact = signal(false); // one column
  readonly still = signal(false); // reduced motion is asked for
  readonly night = signal(false); // the system's dark mode

  readonly run: ReadonlySignal<Run>;
  readonly other: ReadonlySignal<Run | null>;
  readonly info: ReadonlySignal<RunInfo>;
  readonly view: ReadonlySignal<ViewInfo>;
  readonly at: ReadonlySignal<number>; // the stop, whole; while playing the one that comes next
  readonly told: ReadonlySignal<number>; // the stop whose arrows are drawn: while playing, those of the last one still fade
  readonly layer: ReadonlySignal<number | null>; // the layer spoken of; null before the first
  readonly selection: ReadonlySignal<Selection>;
  readonly drawn: ReadonlySignal<Selection>; // the selection, or a previewed head's
  readonly reach: ReadonlySignal<Reach>; // from the chosen token, else from the last
  readonly dark: ReadonlySignal<boolean>;
  readonly palette: ReadonlySignal<Palette>;
  readonly embedded: boolean; // one of several things on a page: keeps to itself
  readonly prefer: Prefer;
  drawing: Renderer | null = null;
  private readonly ends: (() => void)[] = [];

  constructor(frame: Frame, options: StoreOptions = {}) {
    this.frame = frame;
    this.embedded = options.embedded ?? false;
    this.prefer = options.prefer ?? "auto";
    this.defaults = { ...defaultState(frame), ...options.initial };
    const start = options.address ? fromFragment(hash(), frame, this.defaults) : this.defaults;
    this.s = Object.fromEntries(KEYS(start).map((key) => [key, signal(start[key])])) as unknown as Signals;
    const { s } = this;
    this.shown = signal(start.stop);
    this.run = computed(() => frame.runs[s.run.value] ?? frame.runs[0]!);
    this.other = computed(() => (frame.runs.length > 1 ? frame.runs[1 - s.run.value]! : null));
    this.info = computed(() => this.run.value.info);
    this.view = computed(() => this.info.value.views.find((view) => view.name === s.view.value) ?? this.info.value.views[0]!);
    this.at = computed(() => Math.min(this.info.value.stops.length - 1, Math.max(0, Math.ceil(s.stop.value - 1e-6))));
    this.told = computed(() => {
      const [time, at] = [s.stop.value, this.at.value];
      return at - time > 1e-6 && attentionLayer(this.run.value, at) === null ? Math.max(0, at - 1) : at;
    });
    this.layer = computed(() => {
      const layer = s.layer.value ?? this.info.value.stops[this.at.value]!.layer;
      return layer < 0 ? null : layer;
    });
    this.selection = computed(() => select(this.run.value, this.wanted()));
    this.drawn = computed(() => {
      const preview = this.hoverHead.value;
      if (!preview) return this.selection.value;
      return select(this.run.value, { ...this.wanted(), layer: preview.layer, heads: [preview.head], token: null });
    });
    this.reach = computed(() => {
      const token = s.token.value ?? this.info.value.tokens.length - 1;
      return reach(this.run.value, { meaning: s.meaning.value, first: s.first.value }, token, this.reachShare.value);
    });
    this.dark = computed(() => (s.theme.value === "auto" ? this.night.value : s.theme.value === "dark"));
    this.palette = computed(() => (this.dark.value ? DARK : LIGHT));
    this.takeExtras(options.address ? hash() : "");
    if (options.address) this.ends.push(this.follow());
  }

  /** What the selection depends on; the stop is whole, so that it changes only when another stop is reached. */
  private wanted(): Parameters<typeof select>[1] {
    const { s } = this;
    const most = s.panel.value === "arcs" ? MOST_ARCS : Math.min(this.mostArrows.value, s.playing.value ? this.budget.value : Infinity);
    return {
      stop: this.told.value, layer: s.layer.value, meaning: s.meaning.value, heads: s.heads.value, first: s.first.value,
      itself: s.itself.value, token: s.token.value, threshold: s.threshold.value, arrows: Math.min(s.arrows.value, most),
    }; // prettier-ignore
  }

  state(): State {
    return Object.fromEntries(KEYS(this.defaults).map((key) => [key, this.s[key].value])) as unknown as State;
  }

  /** The state without subscribing to it. */
  peek(): State {
    return Object.fromEntries(KEYS(this.defaults).map((key) => [key, this.s[key].peek()])) as unknown as State;
  }

  /** Sets several things at once; what does not exist in this frame is put right as if it came from an address. */
  set(partial: Partial<State>): void {
    const wished = { ...this.peek(), ...partial };
    this.assign(fromFragment(toFragment(wished, this.defaults), this.frame, this.defaults));
  }

  private assign(state: State): void {
    batch(() => {
      for (const key of KEYS(state)) {
        const [now, next] = [this.s[key].peek(), state[key]];
        if (JSON.stringify(now) !== JSON.stringify(next)) (this.s[key] as Signal<unknown>).value = next;
      }
    });
  }

  choose(token: number | null): void {
    this.s.token.value = token;
  }

  pin(token: number): void {
    const pins = this.s.pins.value;
    this.s.pins.value = pins.includes(token) ? pins.filter((other) => other !== token) : [...pins, token].slice(-24);
  }

  go(stop: number): void {
    batch(() => {
      this.s.playing.value = false;
      this.s.stop.value = stop;
    });
  }

  /** Only this head; again: all. With `add`: this one too, or no longer. */
  lockHead(head: number, add = false): void {
    const heads = this.s.heads.value;
    if (add) this.s.heads.value = heads.includes(head) ? heads.filter((h) => h !== head) : [...heads, head].sort((a, b) => a - b);
    else this.s.heads.value = heads.length === 1 && heads[0] === head ? [] : [head];
  }

  /** The other recording in front: what it does not have is let go. */
  swap(): void {
    if (this.frame.runs.length > 1) this.set({ run: 1 - this.s.run.peek() });
  }

  /** What is not part of the state, but of what one sees: also kept in the address. */
  private extras(): string {
    const { side, measure, reachShare } = this;
    const put = (key: string, value: string, usual: string): string[] => (value === usual ? [] : [`${key}=${encodeURIComponent(value)}`]);
    const usual = this.info.value.measures.names[0] ?? "";
    return [...put("side", side.value, "token"), ...put("measure", measure.value, usual), ...put("step", String(reachShare.value), "0.1")].join("&");
  }

  private takeExtras(fragment: string): void {
    const given = new URLSearchParams(fragment);
    const [side, measure, step] = [given.get("side"), given.get("measure"), Number(given.get("step") ?? "0.1")];
    const names = this.info.peek().measures.names;
    this.side.value = side === "heads" || side === "settings" ? side : "token";
    this.measure.value = measure !== null && names.includes(measure) ? measure : (names[0] ?? "");
    this.reachShare.value = step >= 0 && step <= 1 ? step : 0.1;
  }

  /** Address and state follow each other. Some documents (about:srcdoc) may not change theirs: then it stays. */
  private follow(): () => void {
    let timer: ReturnType<typeof setTimeout> | undefined;
    let written = hash();
    const stop = effect(() => {
      const state = { ...this.state(), help: false, playing: false };
      state.stop = Math.round(state.stop);
      const fragment = [toFragment(state, this.defaults), this.extras()].filter(Boolean).join("&");
      if (this.s.playing.value) return;
      clearTimeout(timer);
      timer = setTimeout(() => {
        if (fragment === hash()) return;
        try {
          history.replaceState(history.state, "", fragment ? `#${fragment}` : location.pathname + location.search);
          written = fragment;
        } catch {
          // this document's address is not ours to change
        }
      }, 250);
    });
    const changed = (): void => {
      if (hash() === written) return;
      written = hash();
      batch(() => {
        this.assign({ ...fromFragment(written, this.frame, this.defaults), help: this.s.help.peek() });
        this.takeExtras(written);
      });
    };
    addEventListener("hashchange", changed);
    return () => {
      clearTimeout(timer);
      removeEventListener("hashchange", changed);
      stop();
    };
  }

  dispose(): void {
    this.ends.splice(0).forEach((end) => end());
  }
}

function hash(): string {
  try {
    return location.hash.replace(/^#/, "");
  } catch {
    return "";
  }
}
