// npm run test:mutation -- [Room ...] [--sample N] [--seed N] [--lines N,N ...] [--jobs N] [--patience SECONDS]
//
// Would the tests notice? Changes one small thing at a time in a room of a copy of this tree and runs the tests that concern that room.
// A room passes when they notice at least 90 % of its mutants; one that makes them hang is noticed, and listed. They hang when they take four
// times as long as without it, and 12 seconds more.
import { parseSync, type Node } from "oxc-parser"
import { spawn } from "node:child_process"
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { availableParallelism, tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { seeded } from "../support.ts"

/** The tests of a room, in the order in which they are asked; the ones of a later row only about what survived the row before. */
const rooms: Readonly<Record<string, ReadonlyArray<ReadonlyArray<string>>>> = {
  "internal/Acknowledgements": [["Acks"], ["consumers"]],
  Keyed: [["Keyed", "defaults"]],
  "internal/Lanes": [["Lanes"], ["Keyed"]],
  Store: [["Store"], ["State", "Outbox"], ["SqlStore"]],
  "internal/States": [["States"], ["Store"]],
  "internal/Session": [["Session"], ["Listing", "standstill", "defaults"], ["Bot"], ["contract/bot"]],
  "internal/Requests": [["Requests"], ["Session", "defaults"], ["Bot"], ["contract/bot"]],
  "internal/Inbox": [["Inbox"], ["Session", "Connection", "defaults"], ["standstill", "Bot"], ["contract/bot"]],
  "internal/Signal": [["Signal"], ["Session", "Connection"], ["Acks", "Bot"]],
  "internal/Sending": [
    ["Sending"],
    ["Sender", "recipient", "Blaze"],
    ["encryption", "Outbox"],
    ["contract/sent", "contract/media"]
  ],
  "internal/Front": [
    ["consumers"],
    ["Blaze", "Delivery", "interruption"],
    ["receipts", "recall", "Sender"],
    ["Unrun", "match", "recipient"],
    ["Bot", "Telemetry"],
    ["operators", "contract/bot"],
    ["groups", "encryption", "contract/sent", "contract/people"],
    ["turmoil"]
  ],
  "internal/Listing": [["Listing"], ["standstill", "Session"]],
  Bot: [
    ["Bot"],
    ["match", "handlers"],
    ["State", "interruption"],
    ["final", "recall"],
    ["Telemetry", "consumers", "defaults", "Setting"]
  ],
  Delivery: [["Delivery"], ["groups", "handlers"], ["interruption", "operators"], ["Bot"]],
  "internal/Outstanding": [["Outstanding"], ["Desk", "Dropped", "consumers"]],
  "internal/Ledger": [
    ["Ledger", "Desk"],
    ["consumers", "recall"],
    ["handlers", "match", "encryption", "Deferral"],
    ["Store", "Dropped", "final"],
    ["Bot", "standstill", "Telemetry"],
    ["operators", "State", "SqlStore"],
    ["SharedStore", "contract/bot"],
    ["backlog"]
  ],
  "internal/Handling": [
    ["Handling"],
    ["handlers", "Delivery"],
    ["groups", "recipient", "match"],
    ["Bot", "State"],
    ["final", "operators"],
    ["consumers", "contract/bot"]
  ],
  "internal/Aside": [["Aside"], ["final", "recall"], ["Deferral", "Store"], ["Bot"]],
  "internal/Recalls": [["recall"]],
  "internal/Dropped": [["Dropped"], ["final"]],
  "internal/Deferral": [["Deferral"], ["Store", "final"], ["Bot", "recall"]],
  "internal/Receipts": [["receipts"], ["contract/bot"]],
  "internal/Underway": [["Underway"], ["consumers"]],
  "internal/Connection": [["Connection"], ["Reconnect", "Listing", "receipts"]],
  Reconnect: [["Reconnect", "defaults"]],
  "internal/Frame": [["Frame", "defaults"]],
  Gzip: [["Gzip"], ["Frame"]],
  Signer: [["Signer", "defaults"]],
  Keystore: [["Keystore"]],
  Quota: [["Quota"]],
  "internal/Decoding": [["Envelope"], ["Message", "roundtrip"]],
  "internal/Ordered": [["Ordered"]],
  "internal/Recent": [["Recent"]],
  "internal/Unrun": [["Unrun"]]
}

/** A test that takes seconds by itself. */
const slow = "a bomb of many megabytes"

const { positionals, values: args } = parseArgs({
  allowPositionals: true,
  options: {
    sample: { type: "string" },
    seed: { type: "string", default: "1" },
    lines: { type: "string" },
    jobs: { type: "string", default: String(availableParallelism()) },
    patience: { type: "string", default: "12" }
  }
})
const threshold = 90
const sample = Number(args.sample ?? Infinity)
const lines = args.lines === undefined ? undefined : new Set(args.lines.split(",").map(Number))
const patience = Number(args.patience) * 1000

interface Mutant {
  readonly start: number
  readonly end: number
  readonly text: string
}

const swaps: Readonly<Record<string, string>> = {
  "===": "!==",
  "!==": "===",
  "<": "<=",
  "<=": "<",
  ">": ">=",
  ">=": ">",
  "&&": "||",
  "||": "&&",
  "+": "-",
  "-": "+",
  "+=": "-=",
  "-=": "+=",
  "++": "--",
  "--": "++"
}

const isText = (node: Node) =>
  node.type === "TemplateLiteral" || (node.type === "Literal" && typeof node.value === "string")

// What is measured or logged is no behaviour that these tests are about.
const isObservation = (node: Node): boolean =>
  node.type === "CallExpression" &&
  node.callee.type === "MemberExpression" &&
  node.callee.property.type === "Identifier" &&
  (node.callee.property.name === "measure" || /^log([A-Z]|$)/.test(node.callee.property.name))

// An effect that does nothing else.
const measures = (node: Node) => {
  const [only] = node.type === "CallExpression" ? node.arguments : []
  return only?.type === "ArrowFunctionExpression" && isObservation(only.body)
}

const mutantsOf = (file: string, source: string): ReadonlyArray<Mutant> => {
  const { errors, program } = parseSync(file, source)
  if (errors.length > 0) throw new Error(`${file} cannot be parsed`)
  const mutants = new Map<string, Mutant>()
  const text = (node: Node) => source.slice(node.start, node.end)
  const add = (start: number, end: number, replacement: string) => {
    const mutated = source.slice(0, start) + replacement + source.slice(end)
    if (mutated !== source && !mutants.has(mutated)) mutants.set(mutated, { start, end, text: replacement })
  }
  const replace = (node: Node, replacement: string) => add(node.start, node.end, replacement)
  const swap = (operator: string, from: number, to: number) => {
    const other = swaps[operator]
    const at = source.indexOf(operator, from)
    if (other !== undefined && at >= 0 && at < to) add(at, at + operator.length, other)
  }
  const negate = (node: Node) => {
    if (node.type === "Literal") return
    if (node.type === "BinaryExpression" && /^[!=]==$/.test(node.operator)) return
    replace(node, node.type === "UnaryExpression" && node.operator === "!" ? text(node.argument) : `!(${text(node)})`)
  }

  const mutate = (node: Node, parent: Node) => {
    switch (node.type) {
      case "BinaryExpression":
      case "LogicalExpression":
        if (node.operator === "??") replace(node, text(node.left))
        else if (!isText(node.left) && !isText(node.right)) swap(node.operator, node.left.end, node.right.start)
        break
      case "AssignmentExpression":
        if (!isText(node.right)) swap(node.operator, node.left.end, node.right.start)
        break
      case "UpdateExpression":
        swap(node.operator, node.start, node.end)
        break
      case "UnaryExpression":
        if (node.operator === "!") replace(node, text(node.argument))
        break
      case "Literal":
        if (typeof node.value === "boolean") replace(node, String(!node.value))
        if (typeof node.value === "number") replace(node, String(node.value + 1))
        break
      case "IfStatement":
      case "WhileStatement":
      case "ConditionalExpression":
        negate(node.test)
        break
      case "ExpressionStatement":
        if (!("directive" in node && node.directive) && !isObservation(bare(node.expression))) replace(node, "void 0")
        break
      case "ReturnStatement":
        // One that ends its function early.
        if (parent.type === "IfStatement" || parent.type === "ForOfStatement") replace(node, ";")
        break
      case "ArrowFunctionExpression":
        if (node.expression && node.body.type !== "Literal" && !isObservation(node.body) && !measures(node.body)) {
          replace(node.body, "undefined")
        }
        break
    }
  }

  const bare = (node: Node): Node => (node.type === "YieldExpression" && node.argument ? node.argument : node)

  const visit = (value: unknown, parent: Node): void => {
    if (Array.isArray(value)) return value.forEach((one) => visit(one, parent))
    if (typeof value !== "object" || value === null || !("type" in value)) return
    const node = value as Node
    if (/^(Import|ExportAll)/.test(node.type) || isObservation(node)) return
    if (node.type.startsWith("TS") && !/^TS(As|NonNull|Satisfies)Expression$/.test(node.type)) return
    mutate(node, parent)
    for (const [name, child] of Object.entries(node)) if (name !== "typeAnnotation") visit(child, node)
  }
  visit(program.body, program)
  return [...mutants.values()].toSorted((a, b) => a.start - b.start)
}

const random = seeded(Number(args.seed))

const lineOf = (source: string, mutant: Mutant) => source.slice(0, mutant.start).split("\n").length

const some = (source: string, all: ReadonlyArray<Mutant>): ReadonlyArray<Mutant> => {
  const mutants = lines === undefined ? all : all.filter((mutant) => lines.has(lineOf(source, mutant)))
  if (mutants.length <= sample) return mutants
  const chosen = mutants.map((mutant) => ({ mutant, at: random() })).toSorted((a, b) => a.at - b.at)
  return chosen.slice(0, sample).map(({ mutant }) => mutant)
}

const root = fileURLToPath(new URL("../..", import.meta.url))
const parts = ["src", "test", "docs", "package.json", "tsconfig.json"]

const copyTree = () => {
  const tree = mkdtempSync(join(tmpdir(), "effect-blaze-mutation-"))
  for (const part of parts) {
    cpSync(join(root, part), join(tree, part), {
      recursive: true,
      filter: (path) => !path.slice(root.length).includes("node_modules")
    })
  }
  symlinkSync(join(root, "node_modules"), join(tree, "node_modules"))
  return tree
}

const running = new Set<number>()

type Verdict = "killed" | "survived" | "timed out"

/** Runs some tests in a tree. A process that hangs is killed with all that it has started. */
const run = async (tree: string, tests: ReadonlyArray<string>, limit: number): Promise<Verdict> => {
  const files = tests.map((test) => `test/${test}.test.ts`)
  const child = spawn(
    process.execPath,
    [
      "node_modules/vitest/vitest.mjs",
      "run",
      "--config=test/vitest.config.ts",
      "--bail=1",
      `--testNamePattern=^(?!.*${slow})`,
      "--reporter=dot",
      ...files
    ],
    { cwd: tree, detached: true, stdio: "ignore", env: { ...process.env, NO_COLOR: "1" } }
  )
  running.add(child.pid!)
  const waiting = new AbortController()
  const ended = new Promise<number>((resolve) => child.on("close", (code) => resolve(code ?? 1)))
  void ended.then(() => running.delete(child.pid!))
  const late = sleep(limit, undefined, { signal: waiting.signal }).catch(() => undefined)
  const code = await Promise.race([ended, late])
  waiting.abort()
  if (code === undefined) {
    process.kill(-child.pid!, "SIGKILL")
    await ended
    return "timed out"
  }
  return code === 0 ? "survived" : "killed"
}

interface Row {
  readonly tests: ReadonlyArray<string>
  readonly limit: number
}

/** What each row of tests takes without a mutant, all of which it has to be well with. */
const rowsOf = async (tree: string, room: string): Promise<ReadonlyArray<Row>> => {
  const rows: Array<Row> = []
  for (const tests of rooms[room]!) {
    const began = performance.now()
    const verdict = await run(tree, tests, 10 * 60_000)
    if (verdict !== "survived") throw new Error(`${tests.join(", ")}: ${verdict} without a mutant`)
    rows.push({ tests, limit: 4 * (performance.now() - began) + patience })
  }
  return rows
}

const judge = async (
  tree: string,
  room: string,
  rows: ReadonlyArray<Row>,
  source: string,
  mutant: Mutant
): Promise<Verdict> => {
  const path = join(tree, "src", `${room}.ts`)
  writeFileSync(path, source.slice(0, mutant.start) + mutant.text + source.slice(mutant.end))
  try {
    for (const { limit, tests } of rows) {
      const verdict = await run(tree, tests, limit)
      if (verdict !== "survived") return verdict
    }
    return "survived"
  } finally {
    writeFileSync(path, source)
  }
}

const brief = (text: string) => {
  const line = text.replaceAll(/\s+/g, " ").trim()
  return line.length > 70 ? `${line.slice(0, 67)}...` : line
}

const describe = (room: string, source: string, mutant: Mutant) =>
  `src/${room}.ts:${lineOf(source, mutant)}: ${brief(source.slice(mutant.start, mutant.end))} -> ${brief(mutant.text)}`

const assess = async (room: string, trees: ReadonlyArray<string>): Promise<boolean> => {
  const source = readFileSync(join(root, "src", `${room}.ts`), "utf8")
  const all = mutantsOf(`${room}.ts`, source)
  const chosen = some(source, all)
  const rows = await rowsOf(trees[0]!, room)
  const verdicts = new Map<Mutant, Verdict>()
  const waiting = [...chosen]
  await Promise.all(
    trees.map(async (tree) => {
      for (let mutant = waiting.shift(); mutant !== undefined; mutant = waiting.shift()) {
        const verdict = await judge(tree, room, rows, source, mutant)
        verdicts.set(mutant, verdict)
        // At once: a room may take an hour.
        if (verdict !== "killed") console.log(`  ${verdict}: ${describe(room, source, mutant)}`)
      }
    })
  )
  const of = (verdict: Verdict) => chosen.filter((mutant) => verdicts.get(mutant) === verdict)
  const survived = of("survived")
  const timedOut = of("timed out")
  const score = ((chosen.length - survived.length) / Math.max(1, chosen.length)) * 100
  console.log(
    `${room}: ${of("killed").length} killed, ${timedOut.length} timed out, ${survived.length} survived of ${chosen.length}` +
      `${chosen.length < all.length ? ` (out of ${all.length}, seed ${args.seed})` : ""}: ${score.toFixed(1)} %`
  )
  return score >= threshold
}

const names = positionals.length > 0 ? positionals : Object.keys(rooms)
for (const name of names) if (rooms[name] === undefined) throw new Error(`There is no room ${name}.`)
const trees = Array.from({ length: Number(args.jobs) }, copyTree)
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => {
    for (const pid of running) process.kill(-pid, "SIGKILL")
    for (const tree of trees) rmSync(tree, { recursive: true, force: true })
    process.exit(1)
  })
}
const weak: Array<string> = []
try {
  for (const name of names) if (!(await assess(name, trees))) weak.push(name)
} finally {
  for (const tree of trees) rmSync(tree, { recursive: true, force: true })
}
if (weak.length > 0) {
  console.log(`Under ${threshold} %: ${weak.join(", ")}`)
  process.exitCode = 1
}
