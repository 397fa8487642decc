// Our tests against the Effect that npm gives today. `^4.1.0` promises that it works, and this is how we find out when
// it does not. It happens in a copy, so that neither the manifest nor the lock of the checkout changes.
import { type SpawnSyncOptions, spawnSync } from "node:child_process"
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"

const packages = ["effect", "@effect/platform-node", "@effect/vitest"]

const root = fileURLToPath(new URL("../..", import.meta.url))

const run = (command: string, args: ReadonlyArray<string>, options: SpawnSyncOptions): string => {
  const { error, status, stdout } = spawnSync(command, args, {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
    ...options
  })
  if (error) throw error
  if (status !== 0) throw new Error(`${command} ${args.join(" ")} ended with ${status}.\n${stdout}`)
  return String(stdout)
}

const copy = mkdtempSync(join(tmpdir(), "effect-blaze-newest-"))
try {
  const tracked = run("git", ["ls-files", "-z", "--deduplicate", "--cached"], { cwd: root }).split("\0")
  // A file that is deleted but not yet committed is still listed.
  const deleted = new Set(run("git", ["ls-files", "-z", "--deleted"], { cwd: root }).split("\0"))
  for (const file of tracked) {
    if (file === "" || deleted.has(file)) continue
    mkdirSync(dirname(join(copy, file)), { recursive: true })
    cpSync(join(root, file), join(copy, file))
  }

  const manifest = JSON.parse(readFileSync(join(copy, "package.json"), "utf8")) as {
    readonly devDependencies: Record<string, string>
  }
  for (const name of packages) {
    const before = manifest.devDependencies[name]
    const version = run("npm", ["view", `${name}@latest`, "version"], { cwd: copy }).trim()
    manifest.devDependencies[name] = version
    console.log(`${name} ${version}${version === before ? ", which we use already" : `, where we use ${before}`}`)
  }
  writeFileSync(join(copy, "package.json"), `${JSON.stringify(manifest, undefined, 2)}\n`)

  // The lock stays, so that Effect is all that differs; `npm install` changes in it what the new versions ask for.
  run("npm", ["install"], { cwd: copy })
  for (const name of packages) {
    const path = join(copy, "node_modules", name, "package.json")
    const { version } = JSON.parse(readFileSync(path, "utf8")) as { readonly version: string }
    if (version !== manifest.devDependencies[name]) throw new Error(`${name} ${version} was installed.`)
  }

  const { error, status } = spawnSync("npm", ["test"], { cwd: copy, stdio: "inherit" })
  if (error) throw error
  process.exitCode = status ?? 1
} finally {
  rmSync(copy, { recursive: true, force: true })
}
