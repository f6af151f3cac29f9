// Writes pages with made-up recordings, under the same policy as real ones: `node dev.mjs /tmp` makes dev-small.html, dev-two.html,
// dev-hostile.html, dev-big.html there. Build first.
import { build } from "esbuild";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const to = process.argv[2] ?? tmpdir();
const work = mkdtempSync(join(tmpdir(), "sociogram-"));
await build({
  absWorkingDir: here,
  stdin: { contents: 'export * from "./test/helpers"; export * from "./test/big";', resolveDir: here, loader: "ts" },
  bundle: true,
  platform: "node",
  format: "esm",
  outfile: join(work, "made.mjs"),
});
const { tinyFrame, bigFrame } = await import(pathToFileURL(join(work, "made.mjs")).href);
rmSync(work, { recursive: true });

const [js, css] = ["page.js", "page.css"].map((name) => readFileSync(join(here, "..", "static", name), "utf8"));
const hash = (text) => `sha256-${createHash("sha256").update(text).digest("base64")}`;

function page(base64) {
  const policy = `default-src 'none'; script-src '${hash(js)}'; style-src '${hash(css)}'; img-src data: blob:; base-uri 'none'; form-action 'none'`;
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><meta http-equiv="Content-Security-Policy" content="${policy}"><title>made up</title><style>${css}</style></head><body><div id="sociogram"></div><script type="application/octet-stream" id="sociogram-frame">${base64}</script><script>${js}</script></body></html>`;
}

const hostile = ["<s>", "</script>", " <img src=x onerror=alert(1)>", "\n", "\t", " \u202eevil", " שלום", " 👩‍👩‍👧", "ﷺ", "\u0000", " ".repeat(5), "`${x}`", " \"'\\", " " + "long".repeat(60), "&lt;", "\ud800"];
const pages = {
  small: tinyFrame({ tokens: 14, layers: 8, heads: 4, toward: " mat" }).base64,
  two: tinyFrame({ tokens: 12, layers: 6, heads: 4, runs: 2 }).base64,
  both: tinyFrame({ tokens: 12, layers: 6, heads: 4, causal: false, parallel: true, opaque: [2], words: false }).base64,
  hostile: tinyFrame({ tokens: hostile, layers: 4, heads: 3, toward: "</script>", text: hostile.join("") }).base64,
  big: Buffer.from(bigFrame({ tokens: 2048, layers: 30, heads: 16, edges: 50_000 })).toString("base64"),
  broken: Buffer.from("not a frame").toString("base64"),
};
for (const [name, frame] of Object.entries(pages)) {
  const path = join(to, `dev-${name}.html`);
  writeFileSync(path, page(frame));
  console.log(path);
}
