/** Taking things along: the table as code, the picture as a file. */
import type { JSX } from "preact";
import { useSignal } from "@preact/signals";
import { useRef } from "preact/hooks";
import { useStore } from "./context";
import { Modal } from "./modal";
import { asCommand, asked, asPython, commandGaps } from "./code";
import { png, save, svg } from "./picture";

export function Dialogs(): JSX.Element | null {
  const store = useStore();
  const close = (): void => void (store.dialog.value = null);
  if (store.dialog.value === "code") return <CodeDialog onClose={close} />;
  if (store.dialog.value === "picture") return <PictureDialog onClose={close} />;
  return null;
}

function CodeDialog({ onClose }: { onClose: () => void }): JSX.Element {
  const store = useStore();
  const what = asked(store.frame.header, store.info.value, store.state(), store.selection.value.layer ?? store.layer.value);
  const command = asCommand(what);
  const gaps = commandGaps(what);
  return (
    <Modal title="This table as code" onClose={onClose}>
      <p class="sg-soft">Both make the recording anew and list the arrows that are drawn now, strongest first.</p>
      <Copyable title="Python" text={asPython(what)} />
      {command === null ? (
        <p class="sg-soft">This recording was not made from a text: there is no command line for it.</p>
      ) : (
        <Copyable title="Command line" text={command} />
      )}
      {command !== null && gaps.length > 0 && <p class="sg-soft sg-small">The command line {gaps.join("; ")}.</p>}
      {!store.embedded && <Copyable title="Address of this view (in the same file)" text={location.href} />}
    </Modal>
  );
}

/** Text to take along. Where there is no clipboard, the text is selected and Ctrl+C does the rest. */
function Copyable({ title, text }: { title: string; text: string }): JSX.Element {
  const pre = useRef<HTMLPreElement>(null);
  const said = useSignal("");
  const copy = async (): Promise<void> => {
    try {
      await navigator.clipboard.writeText(text);
      said.value = "copied";
    } catch {
      const range = document.createRange();
      if (pre.current) range.selectNodeContents(pre.current);
      getSelection()?.removeAllRanges();
      getSelection()?.addRange(range);
      said.value = "selected: press Ctrl+C";
    }
  };
  return (
    <section class="sg-copy">
      <h3>
        {title}
        <small role="status">{said.value}</small>
        <button type="button" class="sg-button" aria-label={`Copy: ${title}`} onClick={() => void copy()}>
          Copy
        </button>
      </h3>
      <pre ref={pre} tabIndex={0}>
        {text}
      </pre>
    </section>
  );
}

function PictureDialog({ onClose }: { onClose: () => void }): JSX.Element {
  const store = useStore();
  const said = useSignal("");
  const name = `flock-layer-${store.layer.value ?? "start"}`;
  const go = (what: () => Promise<Blob> | Blob, ending: string): void => {
    void Promise.resolve()
      .then(what)
      .then((blob) => {
        save(blob, `${name}.${ending}`);
        said.value = `${name}.${ending} is saved.`;
      })
      .catch((error: unknown) => (said.value = `Not saved: ${error instanceof Error ? error.message : String(error)}`));
  };
  return (
    <Modal title="Save the picture" onClose={onClose}>
      <p class="sg-soft">The flock at this stop, as it is turned now, with its title and what it leaves out written below.</p>
      <p class="sg-bar-row">
        <button type="button" class="sg-button" onClick={() => go(() => svg(store), "svg")}>
          SVG, for print
        </button>
        <button type="button" class="sg-button" onClick={() => go(() => png(store, 2), "png")}>
          PNG, for anywhere
        </button>
      </p>
      <p role="status">{said.value}</p>
    </Modal>
  );
}
