import { fileURLToPath } from "node:url"
import { defineConfig } from "vitest/config"

export default defineConfig({
  // The tests import the sources by the package's own name, as the examples do.
  resolve: { conditions: ["effect-blaze-source"] },
  ssr: { resolve: { conditions: ["effect-blaze-source"] } },
  test: {
    root: fileURLToPath(new URL("..", import.meta.url)),
    include: ["test/**/*.test.ts", "docs/examples/**/*.test.ts"],
    exclude: ["test/interop/**", "test/package/**", "test/bench/**", "node_modules/**"],
    // Beyond the minute that `eventually` waits, so that it is the one to say what did not happen.
    // On two processors the default is one worker.
    maxWorkers: "100%",
    testTimeout: 180_000,
    hookTimeout: 180_000
  }
})
