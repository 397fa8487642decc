// Who may import whom in src/. The rooms form one line and look only downwards, which is what keeps each of them
// replaceable; everything that needs Node stands apart, so that the rest runs wherever Effect does. What no user imports stands in
// src/internal/, in the same line.
import { readdirSync, readFileSync } from "node:fs"
import { isBuiltin } from "node:module"
import { dirname, join, relative } from "node:path"
import { fileURLToPath } from "node:url"
import { parseSync, Visitor } from "oxc-parser"

/** The rooms from top to bottom: a room may import those below it. */
const order = [
  "Bot",
  "Commands",
  "Broadcast",
  "Blaze",
  "Front",
  "Outbox",
  "Relay",
  "Persisted",
  "Batches",
  "Sending",
  "Uploads",
  "Picture",
  "Encryption",
  "Sessions",
  "Sender",
  "Quota",
  "Keyed",
  "Lanes",
  "Delivery",
  "Handling",
  "State",
  "Cells",
  "Unread",
  "Ledger",
  "Dropped",
  "Aside",
  "Recalls",
  "Deferral",
  "Acknowledgements",
  "States",
  "PersistentStore",
  "SqlStore",
  "SqlTables",
  "SqlOutbox",
  "SqlStates",
  "SqlGroups",
  "SqlClaims",
  "SqlDeferred",
  "SqlOwner",
  "SqlSweep",
  "Changes",
  "Store",
  "MemoryOutbox",
  "MemoryStates",
  "Unsent",
  "Writes",
  "Connection",
  "Receipts",
  "Session",
  "Listing",
  "Requests",
  "Inbox",

  "BlazeSocket",
  "Frame",
  "PortableGzip",
  "Gzip",
  "Outgoing",
  "Button",
  "Link",
  "Recording",
  "Message",
  "Attachments",
  "Users",
  "Conversations",
  "Lookup",
  "Acks",
  "FileCipher",
  "MixinApi",
  "FileTransfer",
  "PublicAddress",
  "SignedClient",
  "Endpoint",
  "Answer",
  "Decoding",
  "Envelope",
  "Signer",
  "Cipher",
  "Claims",
  "Keystore",
  "Retrying",
  "Together",
  "Halving",
  "Settings",
  "Reconnect",
  "Setting",
  "Utf8",
  "SecureAddress",
  "BlazeError",
  "ErrorKind",
  "Meter",
  "Telemetry",
  "PathTemplate",
  "Nanoseconds",
  "WholeSeconds",
  "Role",
  "Digits",
  "Division",
  "Ordered",
  "Underway",
  "Restart",
  "Signal",
  "Mailbox",
  "SocketFailure",
  "Recent",
  "Elapsed",
  "Branded",
  "Ids",
  "Uuid",
  "Fields",
  "Base64"
]

interface Manifest {
  readonly name: string
}

const root = fileURLToPath(new URL("../..", import.meta.url))
const source = join(root, "src")
const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as Manifest

const offences: Array<string> = []

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
  if (!order.includes(room)) offences.push(`src/${file}: not in the order of the rooms`)
  const isPublic = index.split("\n").includes(`export * as ${room} from "./${room}.ts"`)
  if (isPublic === file.startsWith("internal/"))
    offences.push(`src/${file}: ${isPublic ? "an" : "no"} entry in src/index.ts`)
  if (/^\/\*\*[^]*?\*\//.exec(text)?.[0].includes("Guarantee:") !== true)
    offences.push(`src/${file}:1: does not begin with a header that states its guarantee`)
}

for (const room of order)
  if (!files.includes(`${room}.ts`) && !files.includes(`internal/${room}.ts`))
    offences.push(`src/${room}.ts: in the order, but not there`)

for (const offence of offences) console.log(offence)
if (offences.length > 0) process.exitCode = 1
else console.log(`imports: ok (${files.length} files)`)
