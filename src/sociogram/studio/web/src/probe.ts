/** What tests (and the curious, in the console) can ask of a page. */
import type { Selection, State } from "./types";
import type { Store } from "./store";
import { type EdgeRow, edgeRow, layerEdges } from "./ui/facts";
import { summaryOf } from "./ui/live";

export interface Probe {
  readonly ready: boolean;
  readonly settled: boolean;
  readonly renderer: "webgl2" | "svg" | null;
  readonly reason: string | null;
  readonly frameMs: number;
  state(): State;
  set(partial: Partial<State>): void;
  edges(): ProbeEdge[];
  selection(): Omit<Selection, "edges"> & { edges: number };
  resident(): number;
  place(token: number): [number, number] | null;
  summary(): string;
}

export type ProbeEdge = Omit<EdgeRow, "edge" | "value" | "toward"> & { toward?: number };

export function probe(store: Store): Probe {
  return {
    get ready() {
      return store.s.panel.value !== "flock" || store.renderer.value !== null;
    },
    get settled() {
      return store.settled.value;
    },
    get renderer() {
      return store.renderer.value;
    },
    get reason() {
      return store.reason.value;
    },
    get frameMs() {
      return store.frameMs.value;
    },
    state: () => store.peek(),
    set: (partial) => store.set(partial),
    edges: () =>
      Array.from(store.drawn.value.edges, (edge) => {
        const { edge: _, value: __, toward, ...rest } = edgeRow(store.run.value, edge);
        return toward === null ? rest : { ...rest, toward };
      }),
    selection: () => ({ ...store.drawn.value, edges: store.drawn.value.edges.length }),
    resident: () => store.info.value.layers.reduce((sum, _, layer) => sum + layerEdges(store.run.value, layer).length, 0),
    place: (token) => store.drawing?.place(token) ?? null,
    summary: () => summaryOf(store),
  };
}
