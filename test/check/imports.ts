// Who may import whom in src/. The rooms form one line and look only downwards, which is what keeps each of them
// replaceable; everything that needs Node stands apart, so that the rest runs wherever Effect does. What no user imports stands in
// src/internal/, in the same line. That line is the first table of docs/architecture.md, whose tables have a row for every file.
import { readdirSync, readFileSync } from "node:fs"
import { isBuiltin } from "node:module"
import { dirname, join, relative } from "node:path"
import { fileURLToPath } from "node:url"
import { parseSync, Visitor } from "oxc-parser"

interface Manifest {
  readonly name: string
}

const root = fileURLToPath(new URL("../..", import.meta.url))
const source = join(root, "src")
const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as Manifest

const offences: Array<string> = []

const page = "docs/architecture.md"

/** The files that the tables of the page name, row by row. The head of a table says which part of the house it is about. */
const filesIn = (text: string): ReadonlyArray<string> => {
  const found: Array<string> = []
  let part: string | undefined
  for (const [index, line] of text.split("\n").entries()) {
    const head = /^\| room(?: of `([a-z]+\/)`)? \|/.exec(line)
    if (head !== null) part = head[1] ?? ""
    else if (!line.startsWith("|")) part = undefined
    else if (part !== undefined && !line.startsWith("|---")) {
      const [, name] = /^\| `([^`]+)` \|/.exec(line) ?? []
      if (name === undefined) offences.push(`${page}:${index + 1}: a row names one file`)
      else found.push(`${part}${name}.ts`)
    }
  }
  return found
}

const rows = filesIn(readFileSync(join(root, page), "utf8"))

/** What a file is: its room's name, or the part of the house it stands in. */
const place = (file: string) => {
  const [, room] = /^(?:internal\/)?([^/]+)\.ts$/.exec(file) ?? []
  if (room !== undefined) return room === "index" ? "index" : "room"
  const [part] = file.split("/")
  return part === "node" || part === "testing" || part === "cluster" || part === "web" || part === "cli"
    ? part
    : "nowhere"
}

const roomOf = (file: string) => file.replace(/^internal\/|\.ts$/g, "")

/** The rooms from top to bottom: a room may import those below it. */
const order = rows.filter((file) => place(file) === "room").map(roomOf)

/** Which places a place may import from, itself included; between two rooms the order decides. */
const reach: Readonly<Record<string, ReadonlyArray<string>>> = {
  index: ["room"],
  room: ["room"],
  node: ["room", "node"],
  cluster: ["room", "node", "cluster"],
  web: ["room", "web"],
  testing: ["room", "node", "testing"],
  cli: ["room", "node", "testing", "cli"]
}

interface Import {
  readonly specifier: string
  readonly line: number
}

const importsOf = (file: string, text: string): ReadonlyArray<Import> => {
  const imports: Array<Import> = []
  const note = (source: { readonly value?: unknown; readonly start: number } | null) => {
    if (typeof source?.value !== "string") return
    imports.push({ specifier: source.value, line: text.slice(0, source.start).split("\n").length })
  }
  new Visitor({
    ImportDeclaration: ({ source }) => note(source),
    ExportAllDeclaration: ({ source }) => note(source),
    ExportNamedDeclaration: ({ source }) => note(source),
    ImportExpression: ({ source }) => note(source as { readonly value?: unknown; readonly start: number }),
    TSImportType: ({ source }) => note(source)
  }).visit(parseSync(file, text).program)
  return imports
}

/** Why a file may not import one of its own kind, if so. */
const offenceInside = (file: string, target: string): string | undefined => {
  const from = place(file)
  const to = place(target)
  // The command is bundled, with what the manifest says.
  if (from === "cli" && target === join("..", "package.json")) return undefined
  if (target.startsWith("..")) return "it leaves src/"
  if (reach[from]?.includes(to) !== true) return `${from === "room" ? "a room" : from} may not import ${target}`
  if (from !== "room") return undefined
  const [mine, other] = [order.indexOf(roomOf(file)), order.indexOf(roomOf(target))]
  if (mine < 0 || other < 0) return undefined
  return other > mine ? undefined : `${roomOf(target)} is not below ${roomOf(file)}`
}

/** Why a file may not import a package, if so. */
const offenceOutside = (file: string, specifier: string): string | undefined => {
  if (specifier === "effect") return "only submodules of effect, not the barrel"
  if (specifier === manifest.name || specifier.startsWith(`${manifest.name}/`))
    return "the sources import each other by path"
  const from = place(file)
  if (specifier.startsWith("effect/cluster") && from !== "cluster") return "only src/cluster may need effect/cluster"
  if (from === "node" || from === "testing" || from === "cluster" || from === "cli") return undefined
  const ofNode = isBuiltin(specifier) || /^(?:node:|ws(?:\/|$)|@effect\/platform-node)/.test(specifier)
  return ofNode ? "only src/node, src/testing, src/cluster and src/cli may need Node" : undefined
}

const files = readdirSync(source, { recursive: true, encoding: "utf8" })
  .map((file) => file.replaceAll("\\", "/"))
  .filter((file) => file.endsWith(".ts"))
  .toSorted()

const index = readFileSync(join(source, "index.ts"), "utf8")

for (const file of files) {
  const text = readFileSync(join(source, file), "utf8")
  if (place(file) === "nowhere")
    offences.push(`src/${file}: neither a room nor in src/node, src/testing or src/cluster`)

  for (const { line, specifier } of importsOf(file, text)) {
    const why = specifier.startsWith(".")
      ? offenceInside(file, relative(source, join(source, dirname(file), specifier)).replaceAll("\\", "/"))
      : offenceOutside(file, specifier)
    if (why !== undefined) offences.push(`src/${file}:${line}: imports "${specifier}": ${why}`)
  }

  if (place(file) !== "room") continue
  const room = roomOf(file)
  const isPublic = index.split("\n").includes(`export * as ${room} from "./${room}.ts"`)
  if (isPublic === file.startsWith("internal/"))
    offences.push(`src/${file}: ${isPublic ? "an" : "no"} entry in src/index.ts`)
  if (/^\/\*\*[^]*?\*\//.exec(text)?.[0].includes("Guarantee:") !== true)
    offences.push(`src/${file}:1: does not begin with a header that states its guarantee`)
}

// An index has no purpose of its own.
for (const file of files) {
  const count = /(?:^|\/)index\.ts$/.test(file) ? 1 : rows.filter((row) => row === file).length
  if (count !== 1) offences.push(`src/${file}: ${count === 0 ? "no row" : `${count} rows`} in ${page}`)
}
for (const row of rows) if (!files.includes(row)) offences.push(`${page}: a row for src/${row}, which is not there`)

for (const offence of offences) console.log(offence)
if (offences.length > 0) process.exitCode = 1
else console.log(`imports: ok (${files.length} files)`)
