/** The table twin of every picture: the same numbers, in words and rows. */
import type { ComponentChildren, JSX } from "preact";
import { useComputed } from "@preact/signals";
import { useStore } from "./context";
import { EdgeTable } from "./worksheet";
import { TokenText } from "./token";
import { edgeRow, moves, movedAt, nearest, wordAt } from "./facts";
import { reachLine, routes } from "./reach";
import { stopName } from "./stops";
import { many, num, percent } from "./text";
import { arrowsLine } from "./honesty";
import type { Measure } from "../types";

export const MOST = 200;

/** At most so many rows, and how many are left out. */
export function cut<T>(rows: readonly T[], most = MOST): { rows: T[]; left: number } {
  return { rows: rows.slice(0, most), left: Math.max(0, rows.length - most) };
}

export function Tables(): JSX.Element {
  const store = useStore();
  return (
    <div class="sg-tables" tabIndex={0} role="region" aria-label="Tables">
      <Edges />
      <Tokens />
      <Near />
      <Routes />
      {store.info.value.measures.names.length > 0 && <Measures />}
    </div>
  );
}

function Block({ title, left = 0, children }: { title: string; left?: number; children: ComponentChildren }): JSX.Element {
  return (
    <section class="sg-section">
      <h3>{title}</h3>
      {children}
      {left > 0 && <p class="sg-soft sg-small">{many(left, "row")} left out: at most {MOST} are shown.</p>}
    </section>
  ); // prettier-ignore
}

function Name({ token }: { token: number }): JSX.Element {
  const text = useStore().info.value.tokens[token] ?? "";
  return (
    <>
      <TokenText text={text} most={24} /> <sub>{token}</sub>
    </>
  );
}

function Edges(): JSX.Element {
  const store = useStore();
  const found = useComputed(() => cut(Array.from(store.selection.value.edges))).value;
  const rows = found.rows.map((edge) => edgeRow(store.run.value, edge));
  const layer = store.selection.value.layer;
  const title = layer === null ? "Arrows drawn" : `Arrows drawn in layer ${layer}, by ${store.s.meaning.value}`;
  return (
    <Block title={title} left={found.left}>
      <p class="sg-small sg-soft">{arrowsLine(store)}</p>
      {rows.length > 0 && <EdgeTable rows={rows} caption={title} readers toward={rows[0]!.toward !== null} />}
    </Block>
  );
}

const MORE = [["from_source", "by the other sequence"], ["from_outside", "from outside"], ["edited", "by edits"]] as const;

function Tokens(): JSX.Element {
  const store = useStore();
  const { info } = store;
  const at = store.at.value;
  const layer = store.layer.value;
  const words = info.value.words !== null;
  const more = MORE.filter(([name]) => store.run.value.has(`move/${name}`));
  // the chosen one first where not all fit
  const order = info.value.tokens.map((_, token) => token);
  const chosen = store.s.token.value;
  if (chosen !== null && order.length > MOST) order.unshift(...order.splice(chosen, 1));
  const { rows, left } = cut(order);
  const title = `Tokens · ${stopName(info.value.stops[at])}`;
  return (
    <Block title={title} left={left}>
      <table>
        <caption class="sg-unseen">{title}</caption>
        <thead>
          <tr>
            <th scope="col" class="sg-text">token</th>
            <th scope="col">moved here</th>
            <th scope="col">by others</th>
            <th scope="col">by itself</th>
            {more.map(([name, text]) => <th scope="col" key={name}>{text}</th>)}
            <th scope="col">by the MLP</th>
            <th scope="col">the rest</th>
            <th scope="col">in the layer</th>
            {words && <th scope="col" class="sg-text">lens</th>}
            {words && <th scope="col">sure</th>}
          </tr>
        </thead>
        <tbody>
          {rows.map((token) => {
            const parts = layer === null ? null : moves(store.run.value, layer, token);
            const word = wordAt(store.run.value, at, token);
            return (
              <tr key={token} aria-current={token === chosen ? "true" : undefined}>
                <th scope="row" class="sg-text"><Name token={token} /></th>
                <td>{num(movedAt(store.run.value, at, token))}</td>
                <td>{num(parts?.from_others)}</td>
                <td>{num(parts?.from_itself)}</td>
                {more.map(([name]) => <td key={name}>{num(parts?.[name])}</td>)}
                <td>{num(parts?.mlp)}</td>
                <td>{num(parts?.rest)}</td>
                <td>{num(parts?.moved)}</td>
                {words && <td class="sg-text">{word ? <TokenText text={word.text} most={20} /> : "–"}</td>}
                {words && <td>{percent(word?.probability)}</td>}
              </tr>
            );
          })}
        </tbody>
      </table>
    </Block>
  ); // prettier-ignore
}

function Near(): JSX.Element | null {
  const store = useStore();
  const token = store.s.token.value;
  const { near, where } = token === null ? { near: [], where: "" } : nearest(store.run.value, store.view.value, store.at.value, token);
  if (token === null || !near.length) return null;
  const title = `Nearest to token ${token}, in ${where} · ${stopName(store.info.value.stops[store.at.value])}`;
  return (
    <Block title={title}>
      <table>
        <caption class="sg-unseen">{title}</caption>
        <thead>
          <tr><th scope="col" class="sg-text">token</th><th scope="col">distance</th></tr>
        </thead>
        <tbody>
          {near.map((n) => (
            <tr key={n.token}><th scope="row" class="sg-text"><Name token={n.token} /></th><td>{num(n.distance)}</td></tr>
          ))}
        </tbody>
      </table>
    </Block>
  ); // prettier-ignore
}

function Routes(): JSX.Element {
  const store = useStore();
  const found = store.reach.value;
  const { rows, left } = cut(routes(found, Infinity));
  return (
    <Block title="Reach" left={left}>
      <p class="sg-small sg-soft">{reachLine(store)}</p>
      {rows.length > 0 && (
        <table>
          <caption class="sg-unseen">Tokens that could have told token {found.target} something, and their strongest path</caption>
          <thead>
            <tr><th scope="col" class="sg-text">token</th><th scope="col">shares multiplied</th><th scope="col" class="sg-text">strongest path (layer: reader)</th></tr>
          </thead>
          <tbody>
            {rows.map((route) => (
              <tr key={route.token}>
                <th scope="row" class="sg-text"><Name token={route.token} /></th>
                <td>{percent(route.strength)}</td>
                <td class="sg-text">{route.path.map((step, i) => <span key={i}>{i > 0 && " · "}{step.layer}: <Name token={step.reader} /> {percent(step.share)}</span>)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </Block>
  ); // prettier-ignore
}

function Measures(): JSX.Element {
  const store = useStore();
  const { measures, stops } = store.info.value;
  const all = measures.names.map((name) => measures[name] as Measure);
  const { rows, left } = cut(stops);
  return (
    <Block title="Measures of the flock" left={left}>
      <p class="sg-small sg-soft">Without the first token; in brackets the matched random walk, 5 % to 95 %; then with all tokens.</p>
      <table>
        <caption class="sg-unseen">Measures of the flock at every stop</caption>
        <thead>
          <tr><th scope="col" class="sg-text">stop</th>{all.map((m) => <th scope="col" key={m.label}>{m.label}{m.unit ? `, ${m.unit}` : ""}</th>)}</tr>
        </thead>
        <tbody>
          {rows.map((stop, i) => (
            <tr key={i} aria-current={i === store.at.value ? "step" : undefined}>
              <th scope="row" class="sg-text">{stopName(stop)}</th>
              {all.map((m) => {
                const [low, high] = [m.null_low[i], m.null_high[i]];
                return <td key={m.label}>{num(m.without_first[i])} {low != null && high != null && <small>({num(low)}–{num(high)})</small>} <small>{num(m.all[i])}</small></td>;
              })}
            </tr>
          ))}
        </tbody>
      </table>
    </Block>
  ); // prettier-ignore
}

