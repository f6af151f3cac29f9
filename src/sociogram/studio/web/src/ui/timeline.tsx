/** Under the picture: play, the stops, and the measures of the flock over them. */
import type { JSX } from "preact";
import { useComputed } from "@preact/signals";
import { useStore } from "./context";
import { useId } from "./ids";
import { useWidth } from "./size";
import { play } from "./actions";
import { Back, On, Pause, Play } from "./icons";
import { movedAt } from "./facts";
import { along, area, line, range, stopAt, up } from "./strip";
import { stepStop, stopName, stopShape } from "./stops";
import { num, plain, short } from "./text";
import type { Measure, Run } from "../types";

export function Timeline(): JSX.Element {
  const store = useStore();
  const { s } = store;
  return (
    <div class="sg-time" role="group" aria-label="Layers">
      <div class="sg-time-buttons">
        <button
          type="button"
          class="sg-button sg-icon sg-play"
          aria-label={s.playing.value ? "Pause" : "Play"}
          title={s.playing.value ? "Pause (space)" : "Play (space)"}
          onClick={() => play(store)}
        >
          {s.playing.value ? <Pause /> : <Play />}
        </button>
        <Step by={-1} />
        <Step by={1} />
      </div>
      <Scrubber />
      <StripHead />
      <Strip />
    </div>
  );
}

function Step({ by }: { by: 1 | -1 }): JSX.Element {
  const store = useStore();
  const name = by < 0 ? "Previous half-step" : "Next half-step";
  return (
    <button
      type="button"
      class="sg-button sg-icon sg-step"
      aria-label={name}
      title={`${name} ( ${by < 0 ? "," : "."} )`}
      onClick={() => store.go(stepStop(store.info.value, store.at.value, by))}
    >
      {by < 0 ? <Back /> : <On />}
    </button>
  );
}

const HIGH = 40;

/** How far a token moved to get to each stop; without one, the middle token of each stop. */
function lengths(run: Run, token: number | null): number[] {
  return run.info.stops.map((_, stop) => {
    if (token !== null) return movedAt(run, stop, token);
    const all = run.info.tokens.map((_, t) => movedAt(run, stop, t)).filter(Number.isFinite);
    return all.length ? all.sort((a, b) => a - b)[all.length >> 1]! : NaN;
  });
}

/** Bars: how far the token moved to get to each stop. Discs: after attention; squares: after the MLP. */
function Scrubber(): JSX.Element {
  const store = useStore();
  const [ref, width] = useWidth();
  const { stops, tokens } = store.info.value;
  const at = store.at.value;
  const token = store.s.token.value;
  const far = useComputed(() => lengths(store.run.value, store.s.token.value)).value;
  const most = Math.max(...far.filter(Number.isFinite), 1e-9);
  const slot = width / stops.length;
  const every = Math.max(1, Math.ceil(26 / ((width / Math.max(1, store.info.value.layers.length)) || 26)));
  const r = Math.min(3.2, Math.max(1.1, slot * 0.3));
  return (
    <div class="sg-scrub" ref={ref}>
      <svg width={width} height={HIGH + 18} aria-hidden="true">
        {stops.map((stop, i) => {
          const x = along(i, stops.length, width);
          const shape = stopShape(stop);
          const tall = Number.isFinite(far[i]!) ? (far[i]! / most) * (HIGH - 12) : 0;
          const on = i === at ? " sg-now" : "";
          return (
            <g key={i} class={`sg-stop sg-${shape}${on}`}>
              <rect class="sg-far" x={x - Math.min(5, slot * 0.36)} width={Math.min(10, slot * 0.72)} y={HIGH - 9 - tall} height={tall} rx="1" />
              {shape === "disc" && <circle cx={x} cy={HIGH - 3} r={r} />}
              {shape === "square" && <rect x={x - r} y={HIGH - 3 - r} width={2 * r} height={2 * r} />}
              {(shape === "diamond" || shape === "start") && <path d={`M${x} ${HIGH - 3 - r - 0.6}l${r + 0.6} ${r + 0.6}l${-r - 0.6} ${r + 0.6}l${-r - 0.6} ${-r - 0.6}z`} />}
              {stop.layer >= 0 && stop.layer % every === 0 && stops[i - 1]?.layer !== stop.layer && (
                <text x={x} y={HIGH + 13} text-anchor="middle">
                  {stop.layer}
                </text>
              )}
            </g>
          );
        })}
      </svg>
      <Playhead width={width} height={HIGH + 2} />
      <input
        type="range"
        class="sg-range"
        min={-0.5}
        max={stops.length - 0.5}
        step="any"
        aria-label="Stop"
        aria-valuetext={stopName(stops[at])}
        value={at}
        title={token === null ? "bars: the middle token’s move" : `bars: how far ‘${short(plain(tokens[token]!), 16)}’ moved`}
        onInput={(event) => store.go(Math.min(stops.length - 1, Math.max(0, Math.round(Number(event.currentTarget.value)))))}
        onKeyDown={(event) => {
          const by = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key] as 1 | -1 | undefined;
          const end = { Home: 0, End: stops.length - 1 }[event.key];
          if (by === undefined && end === undefined) return;
          event.preventDefault();
          store.go(end ?? stepStop(store.info.value, at, by!));
        }}
      />
    </div>
  );
}

/** Moves while playing, and nothing else with it. */
function Playhead({ width, height }: { width: number; height: number }): JSX.Element {
  const store = useStore();
  const stops = store.info.value.stops.length;
  return <i class="sg-head-line" style={{ left: `${along(store.shown.value, stops, width)}px`, height: `${height}px` }} aria-hidden="true" />;
}

function StripHead(): JSX.Element {
  const store = useStore();
  const id = useId();
  const { measures } = store.info.value;
  return (
    <div class="sg-strip-head">
      <label for={id} class="sg-unseen">
        Measure of the flock
      </label>
      <select id={id} value={store.measure.value} onChange={(event) => (store.measure.value = event.currentTarget.value)}>
        {measures.names.map((name) => (
          <option key={name} value={name}>
            {(measures[name] as Measure).label}
          </option>
        ))}
      </select>
    </div>
  );
}

const TALL = 46;

function Strip(): JSX.Element | null {
  const store = useStore();
  const [ref, width] = useWidth();
  const { measures, stops } = store.info.value;
  const measure = measures[store.measure.value] as Measure | undefined;
  const at = store.at.value;
  const paths = useComputed(() => {
    const m = store.info.value.measures[store.measure.value] as Measure | undefined;
    if (!m) return null;
    const band = range([m.without_first, m.null_low, m.null_high]);
    const wide = range([m.all, m.without_first, m.null_low, m.null_high]);
    // the first token may dwarf everything: then its line leaves the strip rather than flatten the rest
    return { band: (wide.high - wide.low) > 4 * (band.high - band.low) ? band : wide, cut: (wide.high - wide.low) > 4 * (band.high - band.low) };
  }).value;
  if (!measure || !paths) return null;
  const { band, cut } = paths;
  const now = measure.without_first[at] ?? null;
  const [low, high] = [measure.null_low[at], measure.null_high[at]];
  const says = now === null ? "not defined here" : `${num(now)}${measure.unit ? ` ${measure.unit}` : ""}`;
  const beside = low == null || high == null ? "" : `; a random walk: ${num(low)} to ${num(high)}`;
  return (
    <figure class="sg-strip" ref={ref}>
      <svg
        width={width}
        height={TALL}
        role="img"
        aria-label={`${measure.label} over the stops; at this stop ${says}${beside}`}
        onClick={(event) => store.go(stopAt(event.clientX - event.currentTarget.getBoundingClientRect().left, stops.length, width))}
      >
        <path class="sg-null" d={area(measure.null_low, measure.null_high, band, width, TALL)} />
        <path class="sg-all" d={line(measure.all, band, width, TALL)} />
        <path class="sg-without" d={line(measure.without_first, band, width, TALL)} />
        <line class="sg-here" x1={along(at, stops.length, width)} x2={along(at, stops.length, width)} y1="0" y2={TALL} />
        {now !== null && <circle class="sg-dot" cx={along(at, stops.length, width)} cy={up(now, band, TALL)} r="3.5" />}
      </svg>
      <figcaption>
        <b>
          {measure.label}: {says}
        </b>
        <span class="sg-key sg-key-without">without the first token</span>
        <span class="sg-key sg-key-all">all{cut ? " (runs out of the strip)" : ""}</span>
        <span class="sg-key sg-key-null">random walk{low != null && high != null ? ` ${num(low)}–${num(high)}` : ""}</span>
      </figcaption>
    </figure>
  );
}
