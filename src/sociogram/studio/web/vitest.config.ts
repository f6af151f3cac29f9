import { defineConfig } from "vitest/config";

export default defineConfig({
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  test: {
    include: ["test/**/*.test.{ts,tsx}"],
    environment: "node", // files in test/ui ask for happy-dom themselves
    testTimeout: 20_000,
    pool: "threads",
    maxWorkers: 1,
  },
});
