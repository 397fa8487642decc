import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { defineConfig } from "vitest/config"

const root = fileURLToPath(new URL("..", import.meta.url))

// Each file and each program that one starts is a process of its own, and all of them load the same modules: a fifth of the time.
process.env["NODE_COMPILE_CACHE"] ??= join(root, "node_modules", ".cache", "compile")

export default defineConfig({
  // The tests import the sources by the package's own name, as the examples do.
  resolve: { conditions: ["effect-blaze-source"] },
  ssr: { resolve: { conditions: ["effect-blaze-source"] } },
  test: {
    root,
    include: ["test/**/*.test.ts", "docs/examples/**/*.test.ts"],
    exclude: [
      "test/interop/**",
      "test/package/**",
      "test/bench/**",
      "test/page/**",
      "test/postgres/**",
      "test/runtimes/**",
      "node_modules/**"
    ],
    // Nothing is kept in module scope, so the files of a worker may share their modules: loading them for each was a third of the time.
    isolate: false,
    // Beyond the minute that `eventually` waits, so that it is the one to say what did not happen.
    // On two processors the default is one worker.
    maxWorkers: "100%",
    testTimeout: 180_000,
    hookTimeout: 180_000
  }
})
