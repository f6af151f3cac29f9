/** The sums behind one reader in one layer: every message in the file, with what is missing. */
import type { JSX } from "preact";
import { useComputed } from "@preact/signals";
import { useStore } from "./context";
import { Section } from "./bars";
import { TokenText } from "./token";
import { allowed, edgesOf, readerTotal, type EdgeRow, type Heard } from "./facts";
import { count, many, num, percent, signed } from "./text";
import type { Store } from "../store";

const MOST = 200;

export interface Sheet extends Heard {
  sums: { attention: number; message: number; contribution: number };
  total: number; // of the meaning, of everything that the switches let through; NaN with heads isolated
}

export function sheet(store: Store, token: number): Sheet | null {
  const { s } = store;
  const layer = store.layer.value;
  if (layer === null) return null;
  const heard = edgesOf(store.run.value, layer, token, "heard", s.meaning.value, { first: s.first.value, itself: s.itself.value, heads: s.heads.value, most: MOST });
  const sum = (pick: (row: EdgeRow) => number): number => heard.rows.reduce((all, row) => all + (pick(row) || 0), 0);
  const total = s.heads.value.length ? NaN : allowed(readerTotal(store.run.value, s.meaning.value, layer, token), s.first.value, s.itself.value);
  return { ...heard, sums: { attention: sum((r) => r.attention), message: sum((r) => r.message), contribution: sum((r) => r.contribution) }, total };
}

export function Worksheet({ token }: { token: number }): JSX.Element | null {
  const store = useStore();
  const found = useComputed(() => sheet(store, store.s.token.value ?? token)).value;
  const layer = store.layer.value;
  if (!found || layer === null || !found.rows.length) return null;
  const toward = found.rows[0]!.toward !== null;
  return (
    <Section title="Worksheet" note={`layer ${layer}, sorted by ${store.s.meaning.value}`}>
      <div class="sg-scroll" tabIndex={0} role="region" aria-label="Worksheet">
        <EdgeTable rows={found.rows} readers={false} toward={toward} sums={found.sums} caption={`What token ${token} heard in layer ${layer}`} />
      </div>
      <p class="sg-soft sg-small">{sheetNote(found, store.s.meaning.value)}</p>
    </Section>
  );
}

export function sheetNote(found: Sheet, meaning: string): string {
  const left = found.shipped - found.rows.length;
  const parts = [`${many(found.rows.length, "message")} shown${left > 0 ? `, ${count(left)} more in this file` : ""}`];
  if (found.total > 0) parts.push(`${percent(Math.min(1, found.shown / found.total))} of the ${meaning} it heard (${num(found.shown)} of ${num(found.total)})`);
  return `${parts.join("; ")}. Value: length of what the sender would say at weight 1. Contributions add up; lengths do not.`;
}

export interface TableProps {
  rows: EdgeRow[];
  caption: string;
  readers: boolean; // a column for who heard it
  toward: boolean;
  sums?: Sheet["sums"];
}

/** A table of edges; the page has two, the worksheet and the twin of the picture. */
export function EdgeTable({ rows, caption, readers, toward, sums }: TableProps): JSX.Element {
  const { info } = useStore();
  const name = (token: number): JSX.Element => (
    <>
      <TokenText text={info.value.tokens[token] ?? ""} most={16} /> <sub>{token}</sub>
    </>
  );
  return (
    <table>
      <caption class="sg-unseen">{caption}</caption>
      <thead>
        <tr>
          {readers && <th scope="col">layer</th>}
          <th scope="col">head</th>
          <th scope="col" class="sg-text">from</th>
          {readers && <th scope="col" class="sg-text">to</th>}
          <th scope="col">weight</th>
          <th scope="col">value</th>
          <th scope="col">message</th>
          <th scope="col" title="contribution">contrib.</th>
          <th scope="col">pull</th>
          {toward && <th scope="col">toward</th>}
        </tr>
      </thead>
      <tbody>
        {rows.map((row) => (
          <tr key={row.edge}>
            {readers && <td>{row.layer}</td>}
            <td>{row.head}</td>
            <td class="sg-text">{name(row.key)}</td>
            {readers && <td class="sg-text">{name(row.query)}</td>}
            <td>{num(row.attention)}</td>
            <td>{num(row.value)}</td>
            <td>{num(row.message)}</td>
            <td>{signed(row.contribution)}</td>
            <td>{signed(row.pull)}</td>
            {toward && <td>{signed(row.toward)}</td>}
          </tr>
        ))}
      </tbody>
      {sums && (
        <tfoot>
          <tr>
            <th scope="row" colSpan={readers ? 4 : 2} class="sg-text">
              sum
            </th>
            <td>{num(sums.attention)}</td>
            <td />
            <td>{num(sums.message)}</td>
            <td>{signed(sums.contribution)}</td>
            <td />
            {toward && <td />}
          </tr>
        </tfoot>
      )}
    </table>
  ); // prettier-ignore
}
