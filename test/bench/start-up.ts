// What it takes to load the library, beside loading just the modules of its dependencies that it uses.
import { spawn } from "node:child_process"
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { median, ratios, type Table } from "./statistics.ts"

const root = fileURLToPath(new URL("../..", import.meta.url))
const dist = join(root, "dist")

/** The modules of other packages that the library's own modules import, when they are loaded for a bot on Node. */
const dependencies = () => {
  const seen = new Set<string>()
  const found = new Set<string>()
  const visit = (file: string) => {
    if (seen.has(file)) return
    seen.add(file)
    for (const [, specifier = ""] of readFileSync(file, "utf8").matchAll(
      /^(?:import|export)\s[^;]*?from "([^"]+)"/gm
    )) {
      if (specifier.startsWith(".")) visit(join(file, "..", specifier))
      else found.add(specifier)
    }
  }
  visit(join(dist, "index.js"))
  visit(join(dist, "node", "index.js"))
  return [...found]
}

interface Loaded {
  readonly cpu: number
  readonly wall: number
  readonly memory: number
}

const load = (specifiers: ReadonlyArray<string>): Promise<Loaded> => {
  mkdirSync(join(root, ".cache"), { recursive: true })
  // In the project, so that names are looked up as in its own modules; removed before this returns.
  const folder = mkdtempSync(join(root, ".cache", "bench-"))
  const file = join(folder, "load.mjs")
  writeFileSync(
    file,
    `${specifiers.map((specifier) => `import ${JSON.stringify(specifier)}`).join("\n")}
const { user, system } = process.cpuUsage()
console.log(JSON.stringify({ cpu: (user + system) / 1000, wall: performance.now(), memory: process.resourceUsage().maxRSS / 1024 }))
`
  )
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [file], { stdio: ["ignore", "pipe", "inherit"] })
    let output = ""
    child.stdout.on("data", (part: Buffer) => (output += part.toString()))
    child.on("exit", (code) => {
      rmSync(folder, { recursive: true, force: true })
      if (code === 0) resolve(JSON.parse(output) as Loaded)
      else reject(new Error(`loading ended with ${code}`))
    })
  })
}

export const startUp = async (rounds: number): Promise<Table> => {
  const used = dependencies()
  const nothing: Array<Loaded> = []
  const theirs: Array<Loaded> = []
  const ours: Array<Loaded> = []
  for (let round = 0; round < rounds; round++) {
    nothing.push(await load([]))
    theirs.push(await load(used))
    ours.push(await load(["effect-blaze", "effect-blaze/node"]))
  }
  const row = (name: string, loads: ReadonlyArray<Loaded>) => ({
    name,
    values: {
      "CPU ms": median(loads.map(({ cpu }) => cpu)).toFixed(0),
      "CPU x": median(ratios(loads, theirs, ({ cpu }) => cpu)).toFixed(2),
      "wall ms": median(loads.map(({ wall }) => wall)).toFixed(0),
      "memory MiB": median(loads.map(({ memory }) => memory)).toFixed(0)
    }
  })

  return {
    title: `start-up: ${rounds} rounds, medians; x is the ratio to the modules of other packages that are used (${used.length})`,
    rows: [row("node alone", nothing), row("those modules", theirs), row("effect-blaze with its Node layers", ours)]
  }
}
