// How large a function may be in src/: 80 lines, and six variables that change. What is larger has more than one purpose, and what remembers
// more is a state without a name. Nothing that changes stands in module scope: several bots share it.
import { readdirSync, readFileSync } from "node:fs"
import { join, relative } from "node:path"
import { fileURLToPath } from "node:url"
import { parseSync, Visitor } from "oxc-parser"

const maximumLines = 80
const maximumVariables = 6

/** Rooms that may have a larger static block, and variables of the module, with the reason. */
const exceptions: Readonly<Record<string, string>> = {
  "internal/Handling.ts":
    "What the library does to a delivery, and no program, are functions that see its private fields: its class assigns them, once, in its static block."
}

const source = fileURLToPath(new URL("../../src", import.meta.url))
const offences: Array<string> = []
let functions = 0

interface Scope {
  readonly start: number
  readonly end: number
  variables: number
}

const look = (file: string) => {
  const text = readFileSync(file, "utf8")
  const { errors, program } = parseSync(file, text)
  if (errors.length > 0) offences.push(`${relative(source, file)}: ${errors[0]!.message}`)
  const lineOf = (offset: number) => text.slice(0, offset).split("\n").length
  const isExcepted = relative(source, file) in exceptions
  const scopes: Array<Scope> = []
  const enter = ({ start, end }: { readonly start: number; readonly end: number }) => {
    scopes.push({ start, end, variables: 0 })
  }
  const leave = () => {
    const { end, start, variables } = scopes.pop()!
    functions++
    const first = lineOf(start)
    const lines = lineOf(end) - first + 1
    const place = `${relative(source, file)}:${first}`
    if (lines > maximumLines) offences.push(`${place}: a function of ${lines} lines`)
    if (variables > maximumVariables) offences.push(`${place}: a function with ${variables} variables that change`)
  }
  new Visitor({
    FunctionDeclaration: enter,
    "FunctionDeclaration:exit": leave,
    FunctionExpression: enter,
    "FunctionExpression:exit": leave,
    ArrowFunctionExpression: enter,
    "ArrowFunctionExpression:exit": leave,
    StaticBlock: (node) => {
      if (!isExcepted) enter(node)
    },
    "StaticBlock:exit": () => {
      if (!isExcepted) leave()
    },
    VariableDeclaration: ({ declarations, kind, start }) => {
      const scope = scopes.at(-1)
      if (kind !== "let") return
      if (scope !== undefined) scope.variables += declarations.length
      else if (!isExcepted)
        offences.push(`${relative(source, file)}:${lineOf(start)}: a variable of the module that changes`)
    }
  }).visit(program)
}

for (const entry of readdirSync(source, { recursive: true, withFileTypes: true })) {
  if (entry.isFile() && entry.name.endsWith(".ts")) look(join(entry.parentPath, entry.name))
}

for (const offence of offences) console.error(offence)
console.log(offences.length === 0 ? `sizes: ok (${functions} functions)` : `sizes: FAILED, ${offences.length} offences`)
process.exitCode = offences.length === 0 ? 0 : 1
