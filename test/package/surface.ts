// npm run check:surface, and npm run surface to write it down anew.
//
// What others can import, name by name: surface.txt lists it, and this fails when a name is added or taken away without it. Read from the
// sources, since types leave no trace in what runs; check.ts has the package, as others get it, import every one of these names.
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { dirname, join, relative } from "node:path"
import { fileURLToPath } from "node:url"
import { parseSync } from "oxc-parser"

const root = fileURLToPath(new URL("../..", import.meta.url))
const source = join(root, "src")
const file = fileURLToPath(new URL("surface.txt", import.meta.url))

export interface Name {
  readonly name: string
  /** Whether it is there when the program runs, and whether it is a type. */
  readonly isValue: boolean
  readonly isType: boolean
}

type Kind = Pick<Name, "isValue" | "isType">

const value: Kind = { isValue: true, isType: false }
const type: Kind = { isValue: false, isType: true }

const kinds: Readonly<Record<string, Kind>> = {
  VariableDeclaration: value,
  FunctionDeclaration: value,
  ClassDeclaration: { isValue: true, isType: true },
  TSInterfaceDeclaration: type,
  TSTypeAliasDeclaration: type
}

/** The names that a file exports, those included that it has from another one. */
const exportsOf = (path: string): ReadonlyMap<string, Kind> => {
  const found = new Map<string, Kind>()
  const add = (name: string, kind: Kind) => {
    const before = found.get(name)
    found.set(name, {
      isValue: kind.isValue || before?.isValue === true,
      isType: kind.isType || before?.isType === true
    })
  }
  for (const statement of parseSync(path, readFileSync(path, "utf8")).program.body) {
    if (statement.type === "ExportAllDeclaration") {
      const { exported } = statement
      if (exported !== null) add("name" in exported ? exported.name : exported.value, value)
      else for (const [name, kind] of exportsOf(join(dirname(path), statement.source.value))) add(name, kind)
    }
    if (statement.type !== "ExportNamedDeclaration") continue
    const { declaration } = statement
    if (declaration?.type === "VariableDeclaration") {
      for (const { id } of declaration.declarations) if (id.type === "Identifier") add(id.name, value)
    } else if (declaration !== null && "id" in declaration && declaration.id?.type === "Identifier") {
      add(declaration.id.name, kinds[declaration.type] ?? value)
    }
    if (statement.source === null) continue
    const from = exportsOf(join(dirname(path), statement.source.value))
    for (const { exported, local } of statement.specifiers) {
      const name = "name" in exported ? exported.name : exported.value
      const kind = from.get("name" in local ? local.name : local.value) ?? value
      add(name, statement.exportKind === "type" ? { ...kind, isValue: false } : kind)
    }
  }
  return found
}

/** The files that the package exports, by the name they are imported with. */
export const subpaths = (): ReadonlyArray<readonly [subpath: string, path: string]> =>
  ["", "node", "cluster", "web", "testing"].flatMap((folder) =>
    readdirSync(join(source, folder))
      .filter((name) => name.endsWith(".ts"))
      .toSorted()
      .map((name) => {
        const subpath = name === "index.ts" ? folder : join(folder, name.replace(/\.ts$/, "")).replaceAll("\\", "/")
        return [subpath === "" ? "effect-blaze" : `effect-blaze/${subpath}`, join(source, folder, name)] as const
      })
  )

/** What others can import. */
export const surface = (): ReadonlyArray<readonly [specifier: string, names: ReadonlyArray<Name>]> =>
  subpaths().map(([specifier, path]) => [
    specifier,
    Array.from(exportsOf(path), ([name, kind]) => ({ name, ...kind })).toSorted((a, b) => (a.name < b.name ? -1 : 1))
  ])

const labelOf = ({ isType, isValue }: Name) => (isValue && isType ? "value, type" : isType ? "type" : "value")

const written = () =>
  surface()
    .map(([specifier, names]) => `${specifier}\n${names.map((name) => `  ${name.name}: ${labelOf(name)}\n`).join("")}`)
    .join("\n")

if (import.meta.main) {
  const now = written()
  const before = existsSync(file) ? readFileSync(file, "utf8") : ""
  if (process.argv.includes("--write")) writeFileSync(file, now)
  else if (now !== before) {
    // Each with the room that it is in: a name alone may stand in several.
    const entries = (text: string) =>
      new Set(
        text.split("\n\n").flatMap((room) => {
          const [specifier, ...names] = room.trim().split("\n")
          return names.map((name) => `${specifier} ${name.trim()}`)
        })
      )
    const [is, was] = [entries(now), entries(before)]
    for (const entry of is) if (!was.has(entry)) console.error(`surface: new: ${entry}`)
    for (const entry of was) if (!is.has(entry)) console.error(`surface: gone: ${entry}`)
    console.error(`surface: not what ${relative(root, file)} says; npm run surface writes it down.`)
    process.exitCode = 1
  } else console.log(`surface: ok (${surface().reduce((sum, [, names]) => sum + names.length, 0)} names)`)
}
