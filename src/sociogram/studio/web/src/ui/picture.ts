/** The flock as a file: the renderer's own SVG, with title and fine print around it. */
import { chooseLabels, SVG_ARROWS, SvgRenderer, toSvgText } from "../engine";
import type { Store } from "../store";
import { sceneOf, tidy } from "./flock";
import { arrowsLine, auditLine, hiddenLine, projectionLine, streamedLine } from "./honesty";
import { caption } from "./summary";
import { pullColour } from "./colour";
import { stopName } from "./stops";

const [ABOVE, LINE] = [64, 17];

function escaped(text: string): string {
  return text.replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f]/g, "").replace(/[&<>"']/g, (letter) => `&#${letter.charCodeAt(0)};`);
}

/** The whole picture as SVG text. */
export function drawing(store: Store): { text: string; width: number; height: number } {
  const box = document.createElement("div"); // never shown: only to know where the tokens lie
  const renderer = new SvgRenderer(box);
  const width = 1200;
  const height = 720;
  const selection = store.drawn.value;
  const most = selection.edges.length > SVG_ARROWS ? `The ${SVG_ARROWS} strongest of them are in this file.` : "";
  renderer.setRun(store.run.value, store.other.value);
  renderer.resize(width, height, 1);
  const insets = { top: 0, right: 60, bottom: 0, left: 30 };
  renderer.draw({ ...sceneOf(store, []), insets });
  const state = store.state();
  const labels = chooseLabels(store.run.value, state, selection, null, store.at.value, (token) => renderer.place(token), { width, height }).map(tidy);
  renderer.dispose();
  const scene = { ...sceneOf(store, labels), hover: null, insets };
  const title = stopName(store.info.value.stops[store.at.value]);
  const inner = toSvgText(store.run.value, store.other.value, scene, width, height, title);
  const { background, ink, faint } = store.palette.value;
  const fine = [`${store.frame.header.model.name} · ${arrowsLine(store)} ${most}`, hiddenLine(store), streamedLine(store.info.value), projectionLine(store), `${auditLine(store)} · Sociogram ${store.frame.header.source.sociogram}`].filter((line) => line.trim());
  const whole = ABOVE + height + fine.length * LINE + 20;
  const font = 'font-family="system-ui, sans-serif"';
  const say = (text: string, y: number, size: number, colour: string, weight = 400): string =>
    `<text x="24" y="${y}" ${font} font-size="${size}" font-weight="${weight}" fill="${colour}">${escaped(text)}</text>`;
  const text = [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${whole}" viewBox="0 0 ${width} ${whole}">`,
    `<rect width="${width}" height="${whole}" fill="${background}"/>`,
    `<g transform="translate(0 ${ABOVE})">${inner}</g>`,
    say(title, 34, 20, ink, 650),
    say(caption(store.run.value, state, store.at.value), 56, 14, ink),
    legend(store, width, font),
    ...fine.map((line, i) => say(line, ABOVE + height + (i + 1) * LINE, 12, faint)),
    "</svg>",
  ].join("\n");
  return { text, width, height: whole };
}

/** What the colours of the arrows mean. */
function legend(store: Store, width: number, font: string): string {
  const palette = store.palette.value;
  const pulls = [-0.9, -0.5, -0.2, -0.04, 0.04, 0.2, 0.5, 0.9];
  const left = width - 260;
  const words = (x: number, text: string, anchor: string): string => `<text x="${x}" y="34" ${font} font-size="12" fill="${palette.faint}" text-anchor="${anchor}">${text}</text>`;
  const bars = pulls.map((pull, i) => `<rect x="${left + i * 10}" y="26" width="10" height="8" fill="${pullColour(pull, palette)}"/>`);
  return [words(left - 8, "away &#8592;&#8594;", "end"), ...bars, words(left + 88, "&#8594;&#8592; towards the sender", "start")].join("");
}

export function svg(store: Store): Blob {
  return new Blob([drawing(store).text], { type: "image/svg+xml" });
}

export async function png(store: Store, ratio: number): Promise<Blob> {
  const { text, width, height } = drawing(store);
  const url = URL.createObjectURL(new Blob([text], { type: "image/svg+xml" }));
  try {
    const image = new Image(width, height);
    await new Promise((done, failed) => {
      image.onload = done;
      image.onerror = () => failed(new Error("this browser does not draw it"));
      image.src = url;
    });
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [width * ratio, height * ratio];
    canvas.getContext("2d")!.drawImage(image, 0, 0, canvas.width, canvas.height);
    return await new Promise((done, failed) => canvas.toBlob((blob) => (blob ? done(blob) : failed(new Error("no picture came out"))), "image/png"));
  } finally {
    URL.revokeObjectURL(url);
  }
}

/** As a download; the address is let go a while later, when the browser has taken it. */
export function save(blob: Blob, name: string): void {
  const url = URL.createObjectURL(blob);
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 30_000);
}
