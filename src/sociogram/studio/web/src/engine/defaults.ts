/** What is shown first: it must already say something. */

import type { Frame, MeaningName, Run, State } from "../types";

/** The closed layer in which other tokens (the first left out) tell a token most, or null: where there is something to see. */
export function mostTold(run: Run, token: number): number | null {
  const T = run.info.tokens.length;
  const name = run.info.meanings.some((meaning) => meaning.name === "message") ? "message" : run.info.meanings[0]?.name;
  if (name === undefined) return null;
  const told = run.array(`total_reader/${name}`);
  let best: number | null = null;
  let most = -Infinity;
  run.info.layers.forEach((layer, l) => {
    const here = told[(l * T + token) * 3]!;
    if (layer.status === "closed" && layer.stop >= 0 && here > most) [best, most] = [l, here];
  });
  return best;
}

/** The last token, the layer in which others tell it most, and the ten strongest messages that it heard or told there, without the first token. */
export function defaultState(frame: Frame): State {
  const run = frame.runs[0]!;
  const { info } = run;
  const token = info.tokens.length - 1;
  const layer = mostTold(run, token);
  const names = info.meanings.map((meaning) => meaning.name);
  const meaning: MeaningName = names.includes("message") || names.length === 0 ? "message" : names[0]!;
  const view = info.views[0]!;
  const C = view.components.length;
  return {
    run: 0,
    ghosts: frame.runs.length > 1,
    stop: layer === null ? info.stops.length - 1 : info.layers[layer]!.stop,
    playing: false,
    view: view.name,
    axes: [0, Math.min(1, C - 1), Math.min(2, C - 1)],
    camera: { yaw: 0, pitch: 0, zoom: 1, x: 0, y: 0, follow: true },
    meaning,
    arrows: 10,
    threshold: 0,
    first: false,
    itself: false,
    heads: [],
    layer: null,
    token,
    pins: [],
    words: true,
    panel: "flock",
    theme: "auto",
    help: false,
  };
}

