/** How to read it, and every key. */
import type { JSX } from "preact";
import { useStore } from "./context";
import { Modal } from "./modal";
import { KEYS, keyName } from "./keys";
import { Legend } from "./settings";

export function Help(): JSX.Element | null {
  const store = useStore();
  if (!store.s.help.value) return null;
  return (
    <Modal title="What this is, and its keys" onClose={() => (store.s.help.value = false)}>
      <div class="sg-help">
        <p>
          Every token of the prompt is a point in the space in which the model thinks. Layer by layer it is moved: by what other tokens tell
          it through attention, and by its own MLP. The arrows are those messages, from who speaks to who listens, as the model
          really computed them: with the biases they add up to everything that attention does.
        </p>
        <p>
          The picture is a projection of hundreds of dimensions onto a plane. Under it stands how much of the whole that shows. Distances and
          neighbours in the lists are measured in the full space; so is whether a message draws its reader towards its sender.
        </p>
        <h3>How to read it</h3>
        <Legend />
        <h3>Mouse and fingers</h3>
        <ul class="sg-legend">
          <li>Hover previews, a click chooses, ctrl-click or shift-click pins a path.</li>
          <li>Drag turns, shift-drag pans, the wheel or two fingers zoom, a double click on empty ground resets.</li>
        </ul>
        <h3>Keys</h3>
        <dl class="sg-keys">
          {KEYS.map((key) => (
            <div key={key.action}>
              <dt>
                {key.keys.map((name, i) => (
                  <>
                    {i > 0 && " "}
                    <kbd>{keyName(name)}</kbd>
                  </>
                ))}
              </dt>
              <dd>{key.says}</dd>
            </div>
          ))}
        </dl>
        <p class="sg-soft sg-small">Nothing is fetched and nothing is sent: this file is all there is. The address holds the view.</p>
      </div>
    </Modal>
  );
}
