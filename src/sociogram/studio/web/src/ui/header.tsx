/** Top of the page: whose tokens, what the model says next, search, theme, help. */
import type { JSX } from "preact";
import { useStore } from "./context";
import { Code, Half, Mark, Moon, Sun } from "./icons";
import { Chips } from "./chips";
import { Search } from "./search";
import { TokenText } from "./token";
import { lengthLine } from "./facts";
import { many } from "./text";
import type { State } from "../types";

const THEMES: { name: State["theme"]; says: string; icon: () => JSX.Element }[] = [
  { name: "auto", says: "as the system", icon: Half },
  { name: "light", says: "light", icon: Sun },
  { name: "dark", says: "dark", icon: Moon },
];

export function Header(): JSX.Element {
  const store = useStore();
  const { s, info, frame } = store;
  const theme = THEMES.find((t) => t.name === s.theme.value) ?? THEMES[0]!;
  const following = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length]!;
  const { layers, heads } = info.value;
  return (
    <div class="sg-head">
      <div class="sg-bar-row">
        <div class="sg-brand">
          <Mark />
          <span>
            <TokenText text={frame.header.model.name} exact />
            <small>
              {many(layers.length, "layer")} × {many(heads, "head")}, {lengthLine(info.value)}
            </small>
          </span>
        </div>
        <div class="sg-bar-row sg-push sg-actions">
          <Search />
          <button type="button" class="sg-button" aria-label="This table as code" title="This table as code (c)" onClick={() => (store.dialog.value = "code")}>
            <Code />
            <span class="sg-wide">Code</span>
          </button>
          <button
            type="button"
            class="sg-button sg-icon"
            aria-label={`Theme: ${theme.says}. Change to ${following.says}`}
            title={`Theme: ${theme.says}`}
            onClick={() => (s.theme.value = following.name)}
          >
            <theme.icon />
          </button>
          <button type="button" class="sg-button sg-icon" aria-label="Help" title="Help and keys (?)" onClick={() => (s.help.value = true)}>
            ?
          </button>
        </div>
      </div>
      <Chips />
    </div>
  );
}
