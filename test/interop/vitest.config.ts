import { defineConfig } from "vitest/config"

const root = new URL("../..", import.meta.url).pathname

export default defineConfig({
  // This folder is a package of its own, so "effect-blaze" does not mean the package around it, as in the other tests.
  resolve: { alias: { "effect-blaze/testing": `${root}src/testing/index.ts` } },
  test: {
    root,
    include: ["test/interop/*.test.ts"],
    testTimeout: 30_000
  }
})
