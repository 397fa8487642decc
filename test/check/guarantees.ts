// What docs/guarantees.md calls a test by has to be one: every name in its parts "Tests" and "Removed" is the name, or a piece of the name, of
// something in test/ or docs/examples/, and every file that it names is there. Three dots stand for what is left out.
import { parseSync, Visitor } from "oxc-parser"
import { globSync, readFileSync } from "node:fs"
import { basename, join } from "node:path"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("../..", import.meta.url))
const files = globSync(["test/**/*.ts", "docs/examples/**/*.ts"], { cwd: root, exclude: ["**/node_modules/**"] })

const escaped = (text: string) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")

/** Texts of the tests, and those into which something is put: there a name may have it, or three dots. */
const texts: Array<string> = []
const templates: Array<RegExp> = []
for (const file of files) {
  const { program } = parseSync(file, readFileSync(join(root, file), "utf8"))
  new Visitor({
    Literal: (node) => {
      if (typeof node.value === "string") texts.push(node.value)
    },
    TemplateLiteral: ({ quasis }) => {
      const parts = quasis.map(({ value }) => value.cooked ?? value.raw)
      texts.push(parts.join("..."))
      // One that is all but empty would be any name.
      if (parts.length > 1 && parts.join("").length > 12) templates.push(new RegExp(parts.map(escaped).join(".+")))
    }
  }).visit(program)
}

const isNamed = (name: string) => {
  const pieces = name.split("...").map((piece) => piece.trim())
  const inOrder = new RegExp(pieces.map(escaped).join("[^]*"))
  return texts.some((text) => inOrder.test(text)) || templates.some((template) => template.test(name))
}

const page = readFileSync(join(root, "docs", "guarantees.md"), "utf8")
const parts = page.split(/\n{2,}/).filter((part) => /^\*\*(Tests|Removed)\.\*\*/.test(part))
const offences: Array<string> = []
let names = 0
for (const part of parts) {
  const line = part.replaceAll(/\s+/g, " ").replaceAll("`...`", "...")
  for (const [, name = ""] of line.matchAll(/"([^"]+)"/g)) {
    names++
    if (!isNamed(name)) offences.push(`no test is called "${name}"`)
  }
  for (const [, file = ""] of line.matchAll(/`([^`\s]+\.ts)`/g)) {
    if (!files.some((path) => path.endsWith(file) || basename(path) === file)) offences.push(`there is no ${file}`)
  }
}

if (offences.length > 0) {
  console.error(offences.join("\n"))
  process.exit(1)
}
console.log(`guarantees: ok (${names} names of tests)`)
