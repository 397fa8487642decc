// Programs of this repository, each in a file of its own, which begins in a third of the time: for tests that begin very many.
import { Effect } from "effect"
import { ChildProcess } from "effect/process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { rolldown } from "rolldown"

const directory = mkdtempSync(join(tmpdir(), "effect-blaze-programs-"))
process.once("exit", () => rmSync(directory, { recursive: true, force: true }))

const write = async (path: string): Promise<string> => {
  const bundled = await rolldown({
    input: { program: fileURLToPath(new URL(`../${path}`, import.meta.url)) },
    platform: "node",
    external: /^node:/,
    resolve: { conditionNames: ["effect-blaze-source", "node", "import"] }
  })
  const into = join(directory, path)
  await bundled.write({ dir: into, format: "esm", entryFileNames: "[name].mjs", chunkFileNames: "[name]-[hash].mjs" })
  return join(into, "program.mjs")
}

const files = new Map<string, Promise<string>>()

/** Makes one file of a program; gives where it is. */
export const bundle = (path: string) =>
  Effect.promise(() => {
    const file = files.get(path) ?? write(path)
    files.set(path, file)
    return file
  })

/** As `program`. */
export const bundled = (
  path: string,
  env: Record<string, string>,
  args: ReadonlyArray<string> = [],
  stdin: ChildProcess.CommandOptions["stdin"] = "ignore"
) =>
  Effect.flatMap(bundle(path), (file) =>
    ChildProcess.make(process.execPath, [file, ...args], {
      env: { NO_COLOR: "1", NODE_COMPILE_CACHE: join(directory, "compiled"), ...env },
      stdin
    })
  )
