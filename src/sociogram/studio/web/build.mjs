// Bundles the page: ../static/page.js (and page.mjs, the same as a module) and ../static/page.css. Fails when the two together pass 205 kB.
import { build } from "esbuild";
import { mkdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const LIMIT = 205_000;
const here = dirname(fileURLToPath(import.meta.url));
const out = process.argv[2] ?? join(here, "..", "static");
mkdirSync(out, { recursive: true });

/** Shaders are texts to esbuild: their comments and indentation are taken out here. */
const shaders = {
  name: "shaders",
  setup(bundler) {
    bundler.onLoad({ filter: /engine\/shaders\.ts$/ }, ({ path }) => {
      const lines = readFileSync(path, "utf8").split("\n");
      const kept = lines.map((line) => line.replace(/(^|\s)\/\/.*$/, "").trim()).filter(Boolean);
      return { contents: kept.join("\n"), loader: "ts" };
    });
  },
};

// What is bundled asks for its licence to travel with it.
const licences = ["preact", "@preact/signals"].map((name) => readFileSync(join(here, "node_modules", name, "LICENSE"), "utf8").trim());
const [owners, permission] = [licences.map((text) => /^Copyright.*$/m.exec(text)?.[0] ?? "").join("; "), licences[0].slice(licences[0].indexOf("Permission is"))];
const banner = `/*! Sociogram. Contains Preact and its signals, The MIT License (MIT). ${owners}. ${permission.replace(/\s+/g, " ")} */`;

const options = {
  absWorkingDir: here,
  entryPoints: { page: "src/main.tsx" },
  outdir: out,
  bundle: true,
  minify: true,
  target: "es2022",
  charset: "ascii", // the page is hashed and inlined: plain bytes survive every encoding
  legalComments: "none",
  banner: { js: banner },
  jsx: "automatic",
  jsxImportSource: "preact",
  define: { "process.env.NODE_ENV": '"production"' },
  plugins: [shaders],
  logLevel: "warning",
};
await build({ ...options, format: "iife" }); // page.js: stands inside a page, leaves nothing global but window.__sociogram
await build({ ...options, format: "esm", outExtension: { ".js": ".mjs" } }); // page.mjs: the same, for whoever calls `mount`

const sizes = ["page.js", "page.css"].map((name) => [name, statSync(join(out, name)).size]);
const total = sizes.reduce((sum, [, size]) => sum + size, 0);
console.log(`${sizes.map(([name, size]) => `${name} ${(size / 1000).toFixed(1)} kB`).join(", ")}; limit ${LIMIT / 1000} kB`);
if (total > LIMIT) {
  console.error(`The page is ${(total / 1000).toFixed(1)} kB: more than ${LIMIT / 1000} kB.`);
  process.exit(1);
}
