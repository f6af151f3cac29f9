/** Which tokens could have told this one, through whom: layers upwards, tokens across. */
import type { JSX } from "preact";
import { useMemo } from "preact/hooks";
import { pathFrom, type Reach, type Step } from "../engine/reach";
import { useStore } from "./context";
import { useId } from "./ids";
import { useWidth } from "./size";
import { texts, Written } from "./arcs";
import { many, percent, plain, quoted, short } from "./text";
import type { Store } from "../store";

export interface Route {
  token: number;
  strength: number;
  path: Step[];
}

/** Who could have told it most directly. */
export function routes(found: Reach, most: number): Route[] {
  return Array.from(found.strength, (strength, token) => ({ token, strength }))
    .filter(({ token, strength }) => token !== found.target && strength > 0)
    .sort((a, b) => b.strength - a.strength)
    .slice(0, most)
    .map((route) => ({ ...route, path: pathFrom(found, route.token) ?? [] }));
}

export function reachLine(store: Store): string {
  const found = store.reach.value;
  const { tokens } = store.info.value;
  const reached = found.strength.reduce((n, v) => n + (v > 0 ? 1 : 0), 0) - 1;
  const rest = found.covered !== null && found.covered < 0.9995 ? ` The file holds ${percent(found.covered)} of what was heard on the way.` : "";
  const dark = found.unknown ? ` Nothing is known of ${many(found.unknown, "layer")}.` : "";
  return `${many(reached, "token")} of ${tokens.length - 1} could have told ${quoted(tokens[found.target]!)} something, in steps that each were at least ${percent(found.threshold)} of what their reader heard.${rest}${dark} A bound on who could, not a measure of who did.`;
}

const [LEFT, RIGHT] = [34, 14];
const [LARGE, SMALL] = [{ low: 78, top: 112 }, { low: 126, top: 158 }]; // room below for texts, above for the title

export function ReachView({ height }: { height: number }): JSX.Element {
  const store = useStore();
  const { s } = store;
  const id = useId();
  const [ref, width] = useWidth();
  const found = store.reach.value;
  const { tokens, layers } = store.info.value;
  const { low, top } = store.compact.value ? SMALL : LARGE;
  const [T, L] = [tokens.length, layers.length];
  const slot = (width - LEFT - RIGHT) / T;
  const step = Math.max(2, (height - top - low) / (L + 1));
  const x = (token: number): number => LEFT + (token + 0.5) * slot;
  const y = (state: number): number => top + (L - state + 0.5) * step; // state l: before layer l; L: at the end
  const spans = (reached: number[], w: number, h: number, state: number): string => {
    let path = "";
    for (let i = 0; i < reached.length; ) {
      let j = i;
      if (w < 6) while (reached[j + 1] === reached[j]! + 1) j++;
      const [from, to] = [LEFT + reached[i]! * w, LEFT + (reached[j]! + 1) * w];
      const gap = w >= 6 ? 1 : 0;
      path += `M${(from + gap).toFixed(1)} ${(y(state) - h / 2 + 0.7).toFixed(1)}h${(to - from - 2 * gap).toFixed(1)}v${(h - 1.4).toFixed(1)}h${(-(to - from - 2 * gap)).toFixed(1)}z`;
      i = j + 1;
    }
    return path;
  };
  const cells = useMemo(
    () => Array.from({ length: L + 1 }, (_, state) => spans(state === L ? [found.target] : found.layers[state]!.reached, slot, step, state)).join(""),
    [found, slot, step, top],
  );
  const strongest = routes(found, 6);
  const hover = store.hover.value;
  const extra = hover !== null && hover !== found.target && !strongest.some((r) => r.token === hover) ? pathFrom(found, hover) : null;
  const all = extra ? [...strongest, { token: hover!, strength: found.strength[hover!]!, path: extra }] : strongest;
  const named = texts([found.target, ...all.flatMap((r) => [r.token, ...r.path.map((p) => p.reader)]), ...(T <= 400 ? tokens.keys() : [])], T, slot, 13);
  const line = ({ token, path }: Route): string => {
    let d = `M${x(token)} ${y(0)}`;
    for (const p of path) d += `L${x(p.sender)} ${y(p.layer)}L${x(p.reader)} ${y(p.layer + 1)}`;
    return `${d}L${x(found.target)} ${y(L)}`;
  };
  const at = store.layer.value;
  const every = Math.max(1, Math.ceil(16 / step));
  return (
    <div class="sg-reach" ref={ref}>
      <svg width={width} height={height} role="img" aria-label={reachLine(store)} onClick={(event) => {
        const box = event.currentTarget.getBoundingClientRect();
        const token = Math.floor((event.clientX - box.left - LEFT) / slot);
        if (token >= 0 && token < T) store.choose(token);
      }} onPointerMove={(event) => {
        const box = event.currentTarget.getBoundingClientRect();
        const token = Math.floor((event.clientX - box.left - LEFT) / slot);
        store.hover.value = token >= 0 && token < T ? token : null;
      }} onPointerLeave={() => (store.hover.value = null)}>
        <Written from={x(store.info.value.prompt ?? T) - slot / 2} to={width - RIGHT} top={top - 14} low={height - low} />
        {at !== null && <rect class="sg-reach-now" x={LEFT} width={width - LEFT - RIGHT} y={y(at + 1) - step / 2} height={step} />}
        <path class="sg-reached" d={cells} />
        {layers.map((_, l) => l % every === 0 && (
          <text key={l} class="sg-tick" x={LEFT - 8} y={y(l + 1) + 4} text-anchor="end">{l}</text>
        ))}
        {all.map((route) => {
          const on = hover === route.token || (hover === null && route === strongest[0]);
          return <path key={route.token} class={`sg-route${on ? " sg-on" : ""}`} d={line(route)} stroke-width={1 + 3 * Math.sqrt(route.strength / (strongest[0]?.strength || 1))} />;
        })}
        {all.map((route) => <circle key={route.token} class="sg-route-end" cx={x(route.token)} cy={y(0)} r={Math.min(5, Math.max(2.5, slot / 3))} />)}
        <circle class="sg-route-target" cx={x(found.target)} cy={y(L)} r={Math.min(7, Math.max(3.5, slot / 2))} />
        {[...named].map((token) => (
          <text key={token} class={`sg-arc-text${token === found.target ? " sg-now" : ""}${token === hover ? " sg-lit" : ""}`} transform={`translate(${x(token) + 3} ${height - low + 14}) rotate(-52)`} text-anchor="end">
            {short(plain(tokens[token]!), 12)}
          </text>
        ))}
      </svg>
      <div class="sg-reach-share">
        <label for={id}>each step at least {percent(store.reachShare.value)} of what it heard</label>
        <input id={id} type="range" min="0" max="0.6" step="0.01" value={store.reachShare.value} onInput={(event) => (store.reachShare.value = Number(event.currentTarget.value))} />
      </div>
      {s.token.value === null && <p class="sg-unseen">From the last token; choose another to look back from it.</p>}
    </div>
  ); // prettier-ignore
}
