/** The tokens in reading order, and the layer's arrows as arcs over them. */
import type { JSX } from "preact";
import { useComputed } from "@preact/signals";
import { useStore } from "./context";
import { useWidth } from "./size";
import { edgeRow } from "./facts";
import { pullColour, pullWord } from "./colour";
import { arrowOpacity, arrowWidth, widest } from "../engine/look";
import { count, num, plain, short } from "./text";

/** Which tokens get their text: first the given ones in order of importance, then whoever still finds room. */
export function texts(order: readonly number[], total: number, slot: number, room: number): Set<number> {
  if (slot >= room) return new Set(Array.from({ length: total }, (_, i) => i));
  const chosen: number[] = [];
  const free = (token: number): boolean => chosen.every((other) => Math.abs(other - token) * slot >= room);
  for (const token of order) if (!chosen.includes(token) && free(token)) chosen.push(token);
  return new Set(chosen);
}

/** The ground under the tokens that the model wrote, from where its prompt ends. */
export function Written({ from, to, top, low }: { from: number; to: number; top: number; low: number }): JSX.Element | null {
  if (!(to - from > 1)) return null;
  return (
    <g class="sg-ground">
      <rect x={from} y={top} width={to - from} height={Math.max(0, low - top)} />
      <line x1={from} x2={from} y1={top} y2={low} />
      <text x={Math.min(from + 5, to - 40)} y={top + 11}>
        written
      </text>
    </g>
  );
}

const MOST = 600; // tokens drawn one by one

/** The first and last token to show: all, or of a text too long for that the stretch in which the arrows and these tokens lie. */
export function stretch(total: number, rows: readonly { query: number; key: number }[], looked: readonly number[]): [number, number] {
  const all = [...rows.flatMap((row) => [row.query, row.key]), ...looked];
  if (total <= MOST || !all.length) return [0, total - 1];
  const [low, high] = all.reduce(([a, b], t) => [Math.min(a, t), Math.max(b, t)], [Infinity, -Infinity] as [number, number]);
  const around = 4 + Math.round((high - low) / 20); // room beside those that arrows touch
  return [Math.max(0, low - around), Math.min(total - 1, high + around)];
}

const [LEVEL, TURNED] = [76, 92]; // room for the texts
const [TOP, TOP_SMALL] = [72, 122]; // and for the title

export function Arcs({ height }: { height: number }): JSX.Element {
  const store = useStore();
  const [ref, width] = useWidth();
  const { s } = store;
  const tokens = store.info.value.tokens;
  const rows = useComputed(() => Array.from(store.drawn.value.edges, (edge) => edgeRow(store.run.value, edge))).value;
  const palette = store.palette.value;
  const meaning = s.meaning.value;
  const backwards = rows.some((row) => row.key > row.query);
  const wide = width - 32;
  const [start, end] = stretch(tokens.length, rows, [...s.pins.value, ...(s.token.value === null ? [] : [s.token.value])]);
  const drawn = end - start + 1;
  const slot = wide / drawn;
  const x = (token: number): number => 16 + (token - start + 0.5) * slot;
  const turned = slot < 64;
  const [low, top] = [turned ? TURNED : LEVEL, store.compact.value ? TOP_SMALL : TOP];
  const base = height - low - (backwards ? (height - low - top) / 2 : 0);
  const tall = base - top;
  const most = Math.max(1, ...rows.map((row) => Math.abs(row.key - row.query)));
  const largest = Math.max(1e-12, ...rows.map((row) => Math.abs(row[meaning] ?? 0)));
  const lit = store.hover.value;
  const order = [...[lit, s.token.value].filter((t) => t !== null), ...s.pins.value, ...rows.flatMap((row) => [row.query, row.key]), ...(drawn <= 400 ? Array.from({ length: drawn }, (_, i) => start + i) : [])].filter((token) => token >= start && token <= end);
  const named = texts(order, tokens.length, slot, turned ? 13 : 56);
  const thick = widest(rows.length);
  return (
    <div class="sg-arcs" ref={ref}>
      <svg width={width} height={height} role="img" aria-label={`${rows.length} arrows over ${tokens.length} tokens; the table has the same numbers`} onClick={(event) => event.target === event.currentTarget && store.choose(null)}>
        <Written from={Math.max(16, x(store.info.value.prompt ?? tokens.length) - slot / 2)} to={width - 16} top={top} low={height - 4} />
        <line class="sg-base" x1="16" x2={width - 16} y1={base} y2={base} />
        {rows.toReversed().map((row) => {
          const share = Math.abs(row[meaning] ?? 0) / largest;
          const [from, to] = [x(row.key), x(row.query)];
          const up = row.key <= row.query ? -1 : 1;
          const high = Math.max(10, tall * (Math.abs(row.key - row.query) / most) ** 0.7);
          const strong = lit === null || row.key === lit || row.query === lit;
          const colour = pullColour(row.pull, palette);
          const w = arrowWidth(share, thick);
          const y = base + up * 8;
          const self = row.key === row.query;
          const d = self ? `M${from - 4} ${y}a5 7 0 1 1 8 0` : `M${from} ${y}C${from} ${y + up * high * 1.3} ${to} ${y + up * high * 1.3} ${to} ${y + up * 5}`;
          return (
            <g key={row.edge} opacity={strong ? arrowOpacity(share, rows.length) : 0.08}>
              <path d={d} fill="none" stroke={colour} stroke-width={w} />
              {!self && <path d={`M${to} ${y}l${-2.5 - w / 2} ${up * (5 + w)}h${5 + w}z`} fill={colour} />}
              <title>{`layer ${row.layer}, head ${row.head}: ${plain(tokens[row.key]!)} → ${plain(tokens[row.query]!)}, ${meaning} ${num(row[meaning])}, ${pullWord(row.pull)}`}</title>
            </g>
          );
        })}
        {drawn < tokens.length && (
          <text class="sg-stretch" x="16" y={height - 6}>
            tokens {count(start)} to {count(end)} of {count(tokens.length)}
          </text>
        )}
        {drawn <= MOST &&
          tokens.slice(start, end + 1).map((text, i) => {
            const token = start + i;
            const chosen = token === s.token.value;
            return (
              <g
                key={token}
                class={`sg-arc-token${chosen ? " sg-now" : ""}${token === lit ? " sg-lit" : ""}${token === 0 && !s.first.value ? " sg-faint" : ""}`}
                onPointerEnter={() => (store.hover.value = token)}
                onPointerLeave={() => (store.hover.value = null)}
                onClick={(event) => (event.ctrlKey || event.metaKey || event.shiftKey ? store.pin(token) : store.choose(chosen ? null : token))}
              >
                <rect x={x(token) - slot / 2} y={base - 8} width={slot} height={backwards ? 16 : low} fill="transparent" />
                <circle cx={x(token)} cy={base} r={Math.max(1.5, Math.min(5, slot / 3))} />
                {named.has(token) && (
                  <text
                    {...(turned
                      ? { transform: `translate(${x(token) + 3} ${height - low + 14}) rotate(-52)`, "text-anchor": "end" as const }
                      : { x: x(token), y: height - low + 24, "text-anchor": "middle" as const })}
                  >
                    {short(plain(text), turned ? 12 : Math.max(6, Math.floor(slot / 8)))}
                  </text>
                )}
              </g>
            );
          })}
        {drawn > MOST &&
          [...named].map((token) => (
            <g key={token} class={`sg-arc-token${token === s.token.value ? " sg-now" : ""}`} onClick={() => store.choose(token)}>
              <circle cx={x(token)} cy={base} r="3" />
              <text transform={`translate(${x(token) + 3} ${height - low + 14}) rotate(-52)`} text-anchor="end">
                {short(plain(tokens[token]!), 12)}
              </text>
            </g>
          ))}
      </svg>
    </div>
  );
}
