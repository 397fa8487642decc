// The suites that need more than Node, each run by a script of its own, which names its folder.
import { fileURLToPath } from "node:url"
import { defineConfig } from "vitest/config"

export default defineConfig({
  resolve: { conditions: ["effect-blaze-source"] },
  ssr: { resolve: { conditions: ["effect-blaze-source"] } },
  test: {
    root: fileURLToPath(new URL("..", import.meta.url)),
    include: ["test/{page,postgres,runtimes}/*.test.ts"],
    testTimeout: 180_000
  }
})
