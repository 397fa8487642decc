// The package's command, in a file: what npx installs has no optional peers, so that @effect/platform-node is part of it.
import { defineConfig } from "rolldown"

export default defineConfig({
  input: "src/cli/bin.ts",
  platform: "node",
  external: (id) => /^[^./]/.test(id) && !id.startsWith("@effect/platform-node"),
  output: { file: "dist/cli/effect-blaze.js", minify: false, sourcemap: false, codeSplitting: false }
})
