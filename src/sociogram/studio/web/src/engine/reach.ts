/** Which tokens could have told a token something, through whom: reachability back through the shipped edges. */

import type { MeaningName, Run, State } from "../types";
import { sizes } from "./select";

/** What one token heard of another in one layer, all heads together. */
export interface Step {
  layer: number;
  reader: number;
  sender: number;
  share: number; // of all that the reader heard in this layer (all heads and kinds, shipped or not)
  edges: number[]; // the edges it consists of, strongest first
}

export interface ReachLayer {
  layer: number;
  known: boolean; // false: this layer has no account, nothing is known about who told whom
  reached: number[]; // tokens whose state *before* this layer could have come through, ascending
  above: number[]; // and after it
  steps: Step[]; // those used, strongest first
  covered: number | null; // share of what the reached readers heard of others that is shipped; null where unknown or nothing
}

export interface Reach {
  target: number;
  meaning: MeaningName;
  threshold: number;
  layers: ReachLayer[]; // by layer, from the first
  strength: Float64Array; // for each token the product of shares along its strongest path, 0 where none, 1 for the target
  covered: number | null; // over all layers: 1 minus this rests on edges that are not shipped
  unknown: number; // how many layers have no account
}

const ROUTES = new WeakMap<Reach, (Step | null)[][]>();

/**
 * Reachability of `token` at the end, layer by layer from the last.
 *
 * Who is reached after a layer is also reached before it (the residual stream stays), and so is everyone whom a reached reader
 * heard with a share above `threshold` of all that it heard in this layer. All heads are taken together; `state.first` says
 * whether the first token counts as a sender; what a token told itself changes nothing here.
 *
 * The strongest path of a token maximises the product of the shares of its steps; staying costs nothing. That is a bound on how
 * directly it could have been heard, not a measure of influence: shares are of norms, and the MLPs between are not looked at.
 */
export function reach(run: Run, state: Pick<State, "meaning" | "first">, token: number, threshold: number): Reach {
  const { info } = run;
  const [T, L] = [info.tokens.length, info.layers.length];
  const { meaning } = state;
  const size = sizes(run, meaning);
  const query = run.array("edge/query");
  const key = run.array("edge/key");
  const rank = run.array(`rank/${meaning}`);
  const start = run.array(`rank_start/${meaning}`);
  const byReader = run.array(`total_reader/${meaning}`);

  let strength = new Float64Array(T);
  strength[token] = 1;
  const routes: (Step | null)[][] = [];
  const layers: ReachLayer[] = [];
  let [shippedAll, totalAll, unknown] = [0, 0, 0];
  for (let layer = L - 1; layer >= 0; layer--) {
    const above = indices(strength);
    const known = info.layers[layer]!.status === "closed";
    const route: (Step | null)[] = new Array<Step | null>(T).fill(null);
    const below = strength.slice();
    const used: Step[] = [];
    let [shipped, total] = [0, 0];
    if (!known) unknown++;
    else {
      const heard = (reader: number, kind: number): number => {
        const value = byReader[(layer * T + reader) * 3 + kind]!;
        return value > 0 ? value : 0;
      };
      for (const reader of above) total += heard(reader, 0) + (state.first ? heard(reader, 1) : 0);
      const steps = new Map<number, Step>();
      for (let i = start[layer]!; i < start[layer + 1]!; i++) {
        const e = rank[i]!;
        const [reader, sender] = [query[e]!, key[e]!];
        if (strength[reader] === 0 || reader === sender || (sender === 0 && !state.first)) continue;
        const step = steps.get(reader * T + sender);
        if (step) {
          step.share += size[e]!;
          step.edges.push(e);
        } else steps.set(reader * T + sender, { layer, reader, sender, share: size[e]!, edges: [e] });
        shipped += size[e]!;
      }
      for (const step of steps.values()) {
        const all = heard(step.reader, 0) + heard(step.reader, 1) + heard(step.reader, 2);
        step.share = all > 0 ? Math.min(1, step.share / all) : 0;
        if (step.share <= 0 || step.share < threshold) continue;
        used.push(step);
        const through = step.share * strength[step.reader]!;
        if (through > below[step.sender]!) {
          below[step.sender] = through;
          route[step.sender] = step;
        }
      }
      used.sort((a, b) => b.share - a.share || a.reader - b.reader || a.sender - b.sender);
    }
    routes[layer] = route;
    layers[layer] = { layer, known, reached: indices(below), above, steps: used, covered: total > 0 ? Math.min(1, shipped / total) : null };
    shippedAll += shipped;
    totalAll += total;
    strength = below;
  }
  const result: Reach = { target: token, meaning, threshold, layers, strength, covered: totalAll > 0 ? Math.min(1, shippedAll / totalAll) : null, unknown };
  ROUTES.set(result, routes);
  return result;
}

/** The strongest path from a token to the target, first step first; empty for the target itself, null where there is none. */
export function pathFrom(found: Reach, token: number): Step[] | null {
  if (!(found.strength[token]! > 0)) return null;
  const path: Step[] = [];
  let at = token;
  for (const route of ROUTES.get(found)!) {
    const step = route[at];
    if (step) {
      path.push(step);
      at = step.reader;
    }
  }
  return path;
}

function indices(values: Float64Array): number[] {
  const out: number[] = [];
  for (let i = 0; i < values.length; i++) if (values[i]! > 0) out.push(i);
  return out;
}
