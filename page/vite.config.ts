// The page of `effect-blaze dev`, in files of its own: no font and no script comes from elsewhere.
import { fileURLToPath } from "node:url"
import { defineConfig } from "vite"

export default defineConfig({
  root: fileURLToPath(new URL(".", import.meta.url)),
  // Its address has a token in it.
  base: "./",
  build: { outDir: "../dist/page", emptyOutDir: true, modulePreload: false, assetsInlineLimit: 0 }
})
