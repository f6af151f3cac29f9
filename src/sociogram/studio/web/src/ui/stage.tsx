/** The place of the picture, whichever it is, with its title over it. */
import type { JSX } from "preact";
import { useComputed } from "@preact/signals";
import { useStore } from "./context";
import { useSize } from "./size";
import { Arcs } from "./arcs";
import { Flock } from "./flock";
import { ReachView, reachLine } from "./reach";
import { Tables } from "./tables";
import { home } from "./actions";
import { Home, Journey, Save } from "./icons";
import { Panels } from "./toolbar";
import { pullColour } from "./colour";
import { caption } from "./summary";
import { stopName } from "./stops";

export function Stage(): JSX.Element {
  const store = useStore();
  const [ref, , height] = useSize();
  const { s } = store;
  const panel = s.panel.value;
  const at = store.at.value;
  const stop = store.info.value.stops[at];
  const said = useComputed(() => {
    if (s.panel.value === "reach") return reachLine(store).split(". ")[0]!;
    return caption(store.run.value, store.state(), store.at.value);
  }).value;
  const held = s.layer.value !== null && s.layer.value !== stop?.layer ? ` · arrows of layer ${s.layer.value}` : "";
  const { yaw, pitch, zoom, x, y } = s.camera.value;
  const turned = Boolean(yaw || pitch || x || y || zoom !== 1);
  return (
    <div class={`sg-stage sg-on-${panel}`} ref={ref} role="group" aria-label="Picture" tabIndex={panel === "table" ? -1 : 0}>
      {panel === "flock" && <Flock />}
      {panel === "arcs" && <Arcs height={height} />}
      {panel === "reach" && <ReachView height={height} />}
      {panel === "table" && <Tables />}
      {panel !== "table" && (
        <div class="sg-caption">
          <h2>
            {panel === "reach" ? "Who could have told it" : stopName(stop)}
            {panel !== "reach" && held && <small>{held}</small>}
          </h2>
          <p>{said}</p>
          {store.frame.runs.length > 1 && (
            <p class="sg-small">
              {store.info.value.name}
              {s.ghosts.value && store.other.value ? `, ghosts: ${store.other.value.info.name}` : ""}
            </p>
          )}
        </div>
      )}
      {(panel === "flock" || panel === "arcs") && <Key />}
      <div class="sg-corner">
        <Panels />
        {panel === "flock" && <Frames turned={turned} />}
      </div>
    </div>
  );
}

/** What the picture fits, how long its lengths are, and a file of it. */
function Frames({ turned }: { turned: boolean }): JSX.Element {
  const store = useStore();
  const { s } = store;
  const whole = s.camera.value.follow === false;
  return (
    <>
      {turned && (
        <button type="button" class="sg-button sg-icon" aria-label="Reset the view" title="Reset the view (0)" onClick={() => (s.camera.value = home(s.camera.value))}>
          <Home />
        </button>
      )}
      <button
        type="button"
        class="sg-button sg-icon"
        aria-pressed={whole}
        aria-label="Show the whole journey"
        title={whole ? "Shows the whole journey; z fits this stop" : "Fits the tokens of this stop; z shows the whole journey"}
        onClick={() => (s.camera.value = { ...s.camera.value, follow: whole })}
      >
        <Journey />
      </button>
      <button type="button" class="sg-button sg-icon" aria-label="Save the picture" title="Save the picture" onClick={() => (store.dialog.value = "picture")}>
        <Save />
      </button>
    </>
  );
}

/** What the colours mean, in one line on the picture. */
function Key(): JSX.Element | null {
  const store = useStore();
  if (store.drawn.value.layer === null) return null;
  const palette = store.palette.value;
  return (
    <div class="sg-colours" aria-hidden="true">
      <span>away ←→</span>
      <span class="sg-scale-bar">
        {[-0.9, -0.5, -0.2, -0.04, 0.04, 0.2, 0.5, 0.9].map((pull) => (
          <i key={pull} style={{ background: pullColour(pull, palette) }} />
        ))}
      </span>
      <span>
        →← towards<span class="sg-wide"> the sender</span>
      </span>
    </div>
  );
}
