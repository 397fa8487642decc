// The package's command, in a file: what npx installs has no optional peers, so that @effect/platform-node is part of it.
import { defineConfig } from "rolldown"

const bundle = (input: string, file: string) =>
  defineConfig({
    input,
    platform: "node",
    external: (id) => /^[^./]/.test(id) && !id.startsWith("@effect/platform-node"),
    output: { file, minify: false, sourcemap: false, codeSplitting: false }
  })

export default [
  bundle("src/cli/bin.ts", "dist/cli/effect-blaze.js"),
  bundle("src/cli/dev/reporter.ts", "dist/cli/reporter.js")
]
