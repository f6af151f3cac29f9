/** Layers × heads, coloured by how much each head says in all. Hover previews a head, a click isolates it. */
import type { JSX } from "preact";
import { useComputed, useSignal } from "@preact/signals";
import { useRef } from "preact/hooks";
import { headTotals, kindsOf } from "../engine";
import { memo } from "./memo";
import { useStore } from "./context";
import { inkOn, sizeColour } from "./colour";
import { num } from "./text";
import { stopOfLayer } from "./stops";

/** Share of the largest cell, on a square-root scale; NaN stays NaN. */
export function cellShare(value: number, largest: number): number {
  return Number.isNaN(value) ? NaN : largest > 0 ? Math.sqrt(value / largest) : 0;
}

export function Heads(): JSX.Element {
  const store = useStore();
  const { s } = store;
  const grid = useRef<HTMLDivElement>(null);
  const { layers, heads } = store.info.value;
  const totals = useComputed(() => headTotals(store.run.value, s.meaning.value, null, kindsOf({ first: s.first.value, itself: s.itself.value }))).value;
  const largest = totals.reduce((most, value) => (value > most ? value : most), 0);
  const own = useSignal(false);
  const focus = useSignal<[number, number]>([store.layer.value ?? 0, s.heads.value[0] ?? 0]);
  const preview = store.hoverHead.value ?? (s.heads.value.length === 1 && store.layer.value !== null ? { layer: store.layer.value, head: s.heads.value[0]! } : null);
  const move = (event: KeyboardEvent): void => {
    const by = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1], Home: [0, -heads], End: [0, heads] }[event.key];
    if (!by) return;
    event.preventDefault();
    const [l, h] = focus.value;
    const next: [number, number] = [Math.min(layers.length - 1, Math.max(0, l + by[0]!)), Math.min(heads - 1, Math.max(0, h + by[1]!))];
    focus.value = next;
    grid.current?.querySelector<HTMLElement>(`[data-cell="${next.join(":")}"]`)?.focus();
  };
  return (
    <div class="sg-heads">
      <p class="sg-small sg-soft">
        Rows are layers, columns heads; the more a head says, the brighter. Hover previews, a click isolates, ctrl-click adds, a
        layer’s number goes there.
      </p>
      <p class="sg-small sg-heads-now" aria-live="off">
        {preview ? (
          <>
            <b>
              layer {preview.layer}, head {preview.head}
            </b>
            : {num(totals[preview.layer * heads + preview.head])} in all
          </>
        ) : (
          <span class="sg-soft">largest: {num(largest)}</span>
        )}
        {s.heads.value.length > 0 && (
          <button type="button" class="sg-link sg-push" onClick={() => (s.heads.value = [])}>
            all heads again
          </button>
        )}
      </p>
      <div class="sg-matrix" role="grid" aria-label={`Heads by ${s.meaning.value}`} aria-rowcount={layers.length} aria-colcount={heads} ref={grid} onKeyDown={move} onPointerLeave={() => (store.hoverHead.value = null)}>
        {layers.map((_, layer) => (
          <Row key={layer} layer={layer} totals={totals} largest={largest} own={own.value} focused={focus.value[0] === layer ? focus.value[1] : -1} />
        ))}
      </div>
      <Scale most={own.value ? "a layer’s loudest" : num(largest)} />
      <label class="sg-check">
        <input type="checkbox" checked={own.value} onChange={(event) => (own.value = event.currentTarget.checked)} />
        each layer on its own scale
      </label>
    </div>
  );
}

interface RowProps {
  layer: number;
  totals: Float64Array;
  largest: number;
  own: boolean; // colours compare with the layer's loudest head, not with the loudest of all
  focused: number; // the head whose cell Tab comes to, -1: none of this row
}

const Row = memo(function Row({ layer, totals, largest, own, focused }: RowProps): JSX.Element {
  const store = useStore();
  const { heads } = store.info.value;
  const most = own ? totals.subarray(layer * heads, (layer + 1) * heads).reduce((a, b) => (b > a ? b : a), 0) : largest;
  const here = useComputed(() => store.layer.value === layer).value;
  const locked = useComputed(() => (store.layer.value === layer ? store.s.heads.value.join() : "")).value;
  const on = locked ? locked.split(",").map(Number) : [];
  const go = (): void => {
    const stop = stopOfLayer(store.info.value, layer);
    if (stop >= 0) store.go(stop);
    if (store.s.layer.value !== null) store.s.layer.value = layer;
  };
  return (
    <div class={`sg-matrix-row${here ? " sg-now" : ""}`} role="row" aria-rowindex={layer + 1} aria-selected={here}>
      <span role="rowheader">
        <button type="button" tabIndex={-1} class="sg-matrix-layer" aria-label={`Go to layer ${layer}`} onClick={go}>
          {layer}
        </button>
      </span>
      {Array.from({ length: heads }, (_, head) => {
        const value = totals[layer * heads + head]!;
        const share = cellShare(value, most);
        const known = !Number.isNaN(share);
        const isolated = on.includes(head);
        return (
          <button
            key={head}
            type="button"
            role="gridcell"
            class={`sg-cell${known ? "" : " sg-none"}`}
            data-cell={`${layer}:${head}`}
            tabIndex={focused === head ? 0 : -1}
            aria-selected={isolated}
            aria-label={`layer ${layer}, head ${head}: ${known ? num(value) : "no account"}${isolated ? ", isolated" : ""}`}
            style={known ? { background: sizeColour(share), color: inkOn(share) } : {}}
            onPointerEnter={() => (store.hoverHead.value = { layer, head })}
            onFocus={() => (store.hoverHead.value = { layer, head })}
            onBlur={() => (store.hoverHead.value = null)}
            onClick={(event) => {
              if (store.layer.value !== layer) {
                store.s.heads.value = [];
                go();
              }
              store.lockHead(head, event.ctrlKey || event.metaKey);
            }}
          >
            {isolated ? "●" : ""}
          </button>
        );
      })}
    </div>
  );
});

function Scale({ most }: { most: string }): JSX.Element {
  const steps = Array.from({ length: 24 }, (_, i) => i / 23);
  return (
    <div class="sg-scale" aria-hidden="true">
      <span>0</span>
      <span class="sg-scale-bar">
        {steps.map((share) => (
          <i key={share} style={{ background: sizeColour(share) }} />
        ))}
      </span>
      <span>{most}</span>
    </div>
  );
}
