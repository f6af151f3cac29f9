/** The chosen token at this stop: what it heard and told, how far it moved, who is near, what is on its mind. */
import type { JSX } from "preact";
import { useComputed } from "@preact/signals";
import { useLayoutEffect, useRef } from "preact/hooks";
import { useStore } from "./context";
import { Back, Close, On, Pin } from "./icons";
import { TokenLink, TokenText } from "./token";
import { Worksheet } from "./worksheet";
import { allowed, edgesOf, moves, movedAt, nearest, readerTotal, trail, written } from "./facts";
import { num, percent, spaced } from "./text";
import { act } from "./actions";
import { stopNameSmall } from "./stops";
import { EdgeBars, Section } from "./bars";
import { Overview } from "./overview";
import { meaningName } from "./toolbar";

export function Details(): JSX.Element {
  const store = useStore();
  const token = store.s.token.value;
  if (token === null || token >= store.info.value.tokens.length) return <Overview />;
  return (
    <div class="sg-details">
      <Title token={token} />
      {/* what a section computed is about its token: another token gets another section */}
      <Told key={`heard ${token}`} token={token} side="heard" />
      <Moved token={token} />
      <Mind key={`mind ${token}`} token={token} />
      <Near key={`near ${token}`} token={token} />
      <Told key={`told ${token}`} token={token} side="told" />
      <Worksheet token={token} />
    </div>
  );
}

function Title({ token }: { token: number }): JSX.Element {
  const store = useStore();
  const text = store.info.value.tokens[token]!;
  const pinned = store.s.pins.value.includes(token);
  return (
    <header class="sg-title">
      <h2 title={spaced(text)}>
        <TokenText text={text} most={24} />
        <small>
          token {token}
          {written(store.info.value, token) && ", written"}
        </small>
      </h2>
      <div class="sg-title-buttons">
        <button type="button" class="sg-button sg-icon" aria-label="Previous token" title="Previous token (↑)" onClick={() => act(store, "token-", null)}>
          <Back />
        </button>
        <button type="button" class="sg-button sg-icon" aria-label="Next token" title="Next token (↓)" onClick={() => act(store, "token+", null)}>
          <On />
        </button>
        <button type="button" class="sg-button sg-icon" aria-label="Pin its path" title="Pin its path (p)" aria-pressed={pinned} onClick={() => store.pin(token)}>
          <Pin />
        </button>
        <button type="button" class="sg-button sg-icon" aria-label="Let go of the token" title="Let go (Esc)" onClick={() => store.choose(null)}>
          <Close />
        </button>
      </div>
    </header>
  );
}

function Told({ token, side }: { token: number; side: "heard" | "told" }): JSX.Element | null {
  const store = useStore();
  const { s } = store;
  const layer = store.layer.value;
  const found = useComputed(() => {
    const [run, l] = [store.run.value, store.layer.value];
    const options = { first: s.first.value, itself: s.itself.value, heads: s.heads.value, most: 6 };
    return l === null ? null : edgesOf(run, l, token, side, s.meaning.value, options);
  }).value;
  if (layer === null || !found) return null;
  const meaning = s.meaning.value;
  const named = meaningName(store.info.value.meanings.find((m) => m.name === meaning) ?? { name: meaning, label: meaning, signed: false, token: null });
  const last = store.info.value.causal && token === store.info.value.tokens.length - 1;
  const total = side === "heard" && !s.heads.value.length ? allowed(readerTotal(store.run.value, meaning, layer, token), s.first.value, s.itself.value) : NaN;
  const share = total > 0 ? `${percent(found.shown / total)} of what it heard` : "";
  return (
    <Section title={side === "heard" ? `Heard in layer ${layer}` : `Told in layer ${layer}`} note={share || (found.rows.length ? `by ${named}` : "")}>
      {found.rows.length ? (
        <EdgeBars rows={found.rows} side={side} />
      ) : (
        <p class="sg-soft sg-small">{side === "heard" ? "No message from a token that is shown." : last ? "It is the last token: nobody hears it." : "Nothing that is in this file."}</p>
      )}
    </Section>
  );
}

const PARTS = [
  { name: "from_others", text: "others", title: "the sum of what other tokens told it" },
  { name: "from_itself", text: "itself", title: "what it told itself through attention" },
  { name: "from_source", text: "the other", title: "what the tokens of the other sequence told it" },
  { name: "from_outside", text: "outside", title: "what it heard from keys that an edit appended" },
  { name: "mlp", text: "MLP", title: "what the MLP added" },
  { name: "edited", text: "edits", title: "what edits of the stream changed" },
  { name: "rest", text: "the rest", title: "norms, biases and what has no messages" },
  { name: "moved", text: "all in all", title: "the whole move of this layer" },
] as const;

const ALWAYS = new Set<string>(["from_others", "from_itself", "mlp", "moved"]);

function Moved({ token }: { token: number }): JSX.Element | null {
  const store = useStore();
  const layer = store.layer.value;
  if (layer === null) return null;
  const parts = moves(store.run.value, layer, token);
  const most = Math.max(...PARTS.map(({ name }) => parts[name]).filter(Number.isFinite), 1e-12);
  return (
    <Section title={`Moved in layer ${layer}`} note={`to this stop: ${num(movedAt(store.run.value, store.at.value, token))}`}>
      <dl class="sg-moves">
        {PARTS.filter(({ name }) => ALWAYS.has(name) || parts[name] > most / 1000).map(({ name, text, title }) => (
          <div key={name} title={title} class={name === "moved" ? "sg-sum" : ""}>
            <dt>{text}</dt>
            <dd>
              <span class="sg-bar" aria-hidden="true">
                <i style={{ width: `${Number.isFinite(parts[name]) ? (parts[name] / most) * 100 : 0}%` }} />
              </span>
              <span class="sg-number">{num(parts[name])}</span>
            </dd>
          </div>
        ))}
      </dl>
      <p class="sg-soft sg-small">Lengths of arrows that may point against each other: they do not add up.</p>
    </Section>
  );
}

function Near({ token }: { token: number }): JSX.Element | null {
  const store = useStore();
  const { near, where, whole } = useComputed(() => nearest(store.run.value, store.view.value, store.at.value, token)).value;
  if (!near.length) return null;
  const most = near.at(-1)!.distance;
  return (
    <Section title={`Nearest, in ${where}`} note={stopNameSmall(store.info.value.stops[store.at.value])}>
      <ol class="sg-bars sg-near">
        {near.map(({ token: other, distance }) => (
          <li key={other}>
            <span class="sg-who">
              <TokenLink token={other} />
            </span>
            <span class="sg-bar" aria-hidden="true">
              <i style={{ width: `${most > 0 ? (distance / most) * 100 : 0}%` }} />
            </span>
            <span class="sg-number">{num(distance)}</span>
          </li>
        ))}
      </ol>
      {!whole && <p class="sg-soft sg-small">This text is too long to have neighbours in the full space in its file.</p>}
    </Section>
  );
}

/** The logit lens over the stops, the same word joined. */
function Mind({ token }: { token: number }): JSX.Element | null {
  const store = useStore();
  const words = useComputed(() => trail(store.run.value, token)).value;
  const at = store.at.value;
  const { stops } = store.info.value;
  const list = useRef<HTMLOListElement>(null);
  const now = words.findIndex((word) => word.from <= at && at <= word.to);
  useLayoutEffect(() => {
    const box = list.current;
    const item = box?.children[now] as HTMLElement | undefined;
    if (box && item) box.scrollTop = item.offsetTop - box.clientHeight / 2; // scrolls this list and nothing around it
  }, [now, words]);
  if (!words.length) return null;
  const layerOf = (stop: number): string => (stops[stop]!.layer < 0 ? "start" : String(stops[stop]!.layer));
  return (
    <Section title="What the lens reads here" note="next token, how sure">
      <ol class="sg-trail" ref={list} tabIndex={0} aria-label="Logit lens over the layers">
        {words.map((word, i) => {
          const [from, to] = [layerOf(word.from), layerOf(word.to)];
          return (
            <li key={word.from} class={i === now ? "sg-now" : ""} aria-current={i === now ? "step" : undefined}>
              <button type="button" onClick={() => store.go(word.from)}>
                <small>{from === to ? from : `${from}–${to}`}</small>
                <TokenText text={word.text} most={18} />
                <span class="sg-bar" aria-hidden="true">
                  <i style={{ width: `${word.high * 100}%` }} />
                </span>
                <small>{percent(word.high)}</small>
              </button>
            </li>
          );
        })}
      </ol>
    </Section>
  );
}
