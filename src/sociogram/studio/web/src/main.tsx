/** Where the page begins: finds the data, draws it, or says why not. The notebook widget and the live studio mount the same. */
import "./styles/base.css";
import "./styles/layout.css";
import "./styles/parts.css";
import "./styles/stage.css";
import "./styles/side.css";
import "./styles/dialogs.css";
import "./styles/tables.css";
import "./styles/time.css";
import { render } from "preact";
import { decodeFrame } from "./engine";
import { probe, type Probe } from "./probe";
import { Store, type StoreOptions } from "./store";
import { App } from "./ui/app";

declare global {
  interface Window {
    __sociogram?: Probe | { ready: false; reason: string };
  }
}

export interface Mounted {
  store: Store;
  probe: Probe;
  dispose(): void;
}

/** Draws a frame (the compressed block, as bytes or base64) into an element. What is wrong with it is said there, in words. */
export async function mount(element: HTMLElement, frame: string | Uint8Array, options: StoreOptions = {}): Promise<Mounted> {
  try {
    const store = new Store(await decodeFrame(frame), options);
    element.replaceChildren();
    render(<App store={store} />, element);
    const dispose = (): void => {
      render(null, element);
      store.dispose();
    };
    return { store, probe: probe(store), dispose };
  } catch (error) {
    failed(element, error);
    throw error;
  }
}

function failed(element: HTMLElement, error: unknown): void {
  const reason = error instanceof Error ? error.message : String(error);
  render(null, element);
  const box = document.createElement("div");
  box.className = "sg sg-failed";
  box.setAttribute("role", "alert");
  const title = document.createElement("h2");
  title.textContent = "This page cannot be shown";
  const text = document.createElement("p");
  text.textContent = reason;
  box.append(title, text);
  element.replaceChildren(box);
}

/** An exported page: data and place are in the document. */
async function start(): Promise<void> {
  const element = document.getElementById("sociogram");
  const block = document.getElementById("sociogram-frame");
  if (!element || !block) return; // a bundle loaded by someone else, who mounts
  try {
    const mounted = await mount(element, block.textContent ?? "", { address: true, prefer: wished() });
    block.remove(); // megabytes of text that nobody needs any more
    window.__sociogram = mounted.probe;
  } catch (error) {
    window.__sociogram = { ready: false, reason: error instanceof Error ? error.message : String(error) };
  }
}

/** `?draw=svg` asks for the SVG renderer, where WebGL2 draws badly. */
function wished(): "auto" | "svg" {
  try {
    return new URLSearchParams(location.search).get("draw") === "svg" ? "svg" : "auto";
  } catch {
    return "auto";
  }
}

if (typeof document !== "undefined") void start();
