// From the begin of a process to the first message in its handler: the example that everybody begins with, as it is written, beside a
// script on a bare socket.
import { spawn } from "node:child_process"
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { stripTypeScriptTypes } from "node:module"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { keystore, type Server } from "./measure.ts"
import { modes } from "./modes.ts"
import { comparisons, median, show, type Table } from "./statistics.ts"

const root = fileURLToPath(new URL("../..", import.meta.url))
const packages = new Set(["effect", "effect-blaze", "effect-blaze/node", "@effect/platform-node"])

/** The whole package for a few names of it, as most programs are written. */
const wholePackages = (program: string) =>
  program.replace(/^import \* as (\w+) from "([^"]+)\/\1"$/gm, (line, name: string, from: string) =>
    packages.has(from) ? `import { ${name} } from "${from}"` : line
  )

/** Only the modules that are used. */
const singleModules = (program: string) =>
  program.replace(/^import \{([\w,\s]+)\} from "([^"]+)"$/gm, (line, names: string, from: string) =>
    packages.has(from)
      ? names
          .split(",")
          .map((name) => `import * as ${name.trim()} from "${from}/${name.trim()}"`)
          .join("\n")
      : line
  )

const answering = "delivery.reply(delivery.message.text)"

/** The example, which says when its handler has a text. */
const example = () => {
  const program = readFileSync(join(root, "docs", "examples", "echo.ts"), "utf8")
  if (!program.includes(answering)) throw new Error(`docs/examples/echo.ts has no ${answering}`)
  const telling =
    "writeSync(1, JSON.stringify({ wall: performance.now(), cpu: process.cpuUsage(), characters: delivery.message.text.length }))"
  return `import { writeSync } from "node:fs"\n${program.replace(answering, `{ ${telling}; return ${answering} }`)}`
}

const client = (file: string) => readFileSync(new URL(`clients/${file}.ts`, import.meta.url), "utf8")

/** The files of each program, the first of which is run. */
const programs = (): Readonly<Record<string, Readonly<Record<string, string>>>> => ({
  bare: { first: client("first"), token: client("token") },
  "echo.ts, whole packages": { echo: wholePackages(example()) },
  "echo.ts": { echo: example() },
  "echo.ts, single modules": { echo: singleModules(example()) }
})

/** Milliseconds from the begin of the process. */
interface First {
  readonly wall: number
  readonly cpu: number
}

interface Told {
  readonly wall: number
  readonly cpu: NodeJS.CpuUsage
  readonly characters: number
}

const run = (file: string, env: NodeJS.ProcessEnv) =>
  new Promise<Told>((resolve, reject) => {
    const child = spawn(process.execPath, [file], { env, stdio: ["ignore", "pipe", "inherit"] })
    let told: Told | undefined
    child.stdout.on("data", (part: Buffer) => {
      told ??= JSON.parse(part.toString())
      child.kill("SIGKILL")
    })
    child.on("exit", (code) => {
      if (told === undefined) reject(new Error(`${file} ended with ${code} before its first message`))
      else resolve(told)
    })
  })

export const firstMessage = async (server: Server, rounds: number): Promise<Table> => {
  const loaded = server.next("Loaded")
  server.ask({ _tag: "Load", load: { ...modes["receive"]!.load, count: 1 } })
  const { characters } = await loaded
  const { apiUrl, url } = server.listening
  const env = { ...process.env, BLAZE_KEYSTORE: JSON.stringify(keystore), BLAZE_URL: url, BLAZE_API_URL: apiUrl }
  mkdirSync(join(root, ".cache"), { recursive: true })
  // In the project, so that names are looked up as in its own modules; removed before this returns. As JavaScript, so that nobody's
  // time holds the loading of what reads TypeScript.
  const folder = mkdtempSync(join(root, ".cache", "bench-"))
  const results = new Map<string, Array<First>>()
  try {
    for (let round = 0; round < rounds; round++) {
      for (const [name, files] of Object.entries(programs())) {
        for (const [file, text] of Object.entries(files)) {
          writeFileSync(join(folder, `${file}.mjs`), stripTypeScriptTypes(text).replaceAll('.ts"', '.mjs"'))
        }
        server.ask({ _tag: "Begin" })
        const told = await run(join(folder, `${Object.keys(files)[0]}.mjs`), env)
        if (told.characters !== characters) throw new Error(`${name} has read ${told.characters} of ${characters}`)
        const first = { wall: told.wall, cpu: (told.cpu.user + told.cpu.system) / 1000 }
        results.set(name, [...(results.get(name) ?? []), first])
      }
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
  const theirs = [{ name: "bare", results: results.get("bare") }]
  return {
    title: `first message: from the begin of the process to the first text in the handler, ${rounds} rounds, medians`,
    rows: [...results].map(([name, firsts]) => ({
      name,
      values: {
        "wall ms": show(median(firsts.map(({ wall }) => wall)), 0),
        ...comparisons(firsts, theirs, "wall", ({ wall }) => wall),
        "CPU ms": show(median(firsts.map(({ cpu }) => cpu)), 0),
        ...comparisons(firsts, theirs, "CPU", ({ cpu }) => cpu)
      }
    }))
  }
}
