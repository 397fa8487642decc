// npm run check:reference, and npm run reference to write it anew.
//
// docs/api: a page for each room that others can import, with what its docstrings say. Declared anew from the sources each time, since what
// is in dist may be older.
import { spawnSync } from "node:child_process"
import { existsSync, globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { basename, dirname, join, relative } from "node:path/posix"
import { fileURLToPath } from "node:url"
import type { FormatConfig } from "oxfmt"
import { type Declared, makeDeclarations, type Texts } from "./declarations.ts"
import { subpaths } from "./surface.ts"

const root = fileURLToPath(new URL("../..", import.meta.url))
const folder = "docs/api"

const specifierOf = (file: string) => (file === "." ? "effect-blaze" : `effect-blaze/${file}`)

const fence = (code: string) => `\`\`\`ts\n${code}\n\`\`\``

const paragraphs = (texts: ReadonlyArray<string>) => texts.filter((text) => text !== "").join("\n\n")

/** The pages of `docs` that a text names, as links from a page of the reference. */
const linked = (page: string, text: string) =>
  text
    .split(/(```[^]*?```)/)
    .map((part) =>
      part.startsWith("```")
        ? part
        : part.replace(/`(docs\/[\w-]+\.md)`/g, (_, path: string) => `[${path}](${relative(dirname(page), path)})`)
    )
    .join("")

const firstSentence = (text: string) => /^[^]*?[.!?](?=\s|$)/.exec(text.replaceAll("\n", " "))?.[0] ?? text

type Declarations = ReturnType<typeof makeDeclarations>

/** What has one name is one thing, as with a value and its type, or a function that takes this or that. */
const sections = async (declarations: Declarations, room: string, all: ReadonlyArray<Declared>) => {
  const named = Array.from(
    Map.groupBy(all, ({ name }) => name),
    async ([name, each]) =>
      paragraphs([
        `### ${name}`,
        ...each.map(({ docs }) => docs.lead),
        fence((await Promise.all(each.map((one) => declarations.signature(room, one)))).join("\n\n")),
        ...each.map(({ docs }) => docs.parts)
      ])
  )
  return paragraphs(await Promise.all(named))
}

const byCategory = (all: ReadonlyArray<Declared>): ReadonlyArray<readonly [string, ReadonlyArray<Declared>]> => {
  const categories = new Map<string, string>()
  for (const { docs, name } of all) if (docs.category !== undefined) categories.set(name, docs.category)
  const groups = [...Map.groupBy(all, ({ name }) => categories.get(name) ?? "other")]
  const isOther = ([category]: readonly [string, unknown]) => category === "other"
  return [...groups.filter((group) => !isOther(group)), ...groups.filter(isOther)]
}

const pageOf = async (declarations: Declarations, room: string) => {
  const page = `${folder}/${room}.md`
  const pathTo = (path: string) => relative(dirname(page), path)
  const name = basename(room)
  const all = declarations.exportsOf(room)
  const bases = declarations.basesOf(all)
  const head = declarations.headOf(room)
  const categories = byCategory(all).map(async ([category, members]) =>
    paragraphs([`## ${category[0]!.toUpperCase()}${category.slice(1)}`, await sections(declarations, room, members)])
  )
  const text = paragraphs([
    `# ${name}`,
    `\`import { ${name} } from "${specifierOf(dirname(room))}"\`, or \`import * as ${name} from "${specifierOf(room)}"\`. ` +
      `[All rooms](${pathTo(`${folder}/README.md`)}), [source](${pathTo(`src/${room}.ts`)}).`,
    head.lead,
    head.parts,
    ...(await Promise.all(categories)),
    ...(bases.length === 0
      ? []
      : [
          "## Inherited",
          "What classes above have in common. These cannot be imported.",
          await sections(declarations, room, bases)
        ])
  ])
  return [page, `${linked(page, text)}\n`] as const
}

const indexOf = (declarations: Declarations, rooms: ReadonlyArray<string>) => {
  const line = (room: string) => `- [${basename(room)}](${room}.md): ${firstSentence(declarations.headOf(room).lead)}`
  const groups = Array.from(Map.groupBy(rooms, dirname), ([group, members]) =>
    paragraphs([
      `## ${specifierOf(group)}`,
      declarations.headOf(join(group, "index")).lead,
      members.map(line).join("\n")
    ])
  )
  return paragraphs([
    "# Reference",
    "Everything that can be imported, room by room, with its type. `npm run reference` makes these pages from the docstrings in `src/`: what is wrong here is mended there.",
    ...groups
  ])
}

/** The text of each page by its path; the rooms are named by their files. */
export const makePages = async (texts: Texts, rooms: ReadonlyArray<string>, style: FormatConfig) => {
  const declarations = makeDeclarations(texts, rooms, style)
  const pages = await Promise.all(rooms.map((room) => pageOf(declarations, room)))
  return new Map([[`${folder}/README.md`, `${indexOf(declarations, rooms)}\n`], ...pages])
}

/** The sources, and what the compiler declares of them. */
const declare = (): Texts => {
  const into = join(root, ".cache/reference")
  rmSync(into, { recursive: true, force: true })
  const options = ["--emitDeclarationOnly", "--declarationMap", "false", "--outDir", into]
  const { status, stdout } = spawnSync(join(root, "node_modules/.bin/tsc"), ["-p", join(root, "src"), ...options], {
    encoding: "utf8"
  })
  if (status !== 0) throw new Error(`The sources cannot be declared.\n${stdout}`)
  return {
    source: (file) => readFileSync(join(root, "src", `${file}.ts`), "utf8"),
    declared: (file) => readFileSync(join(into, `${file}.d.ts`), "utf8")
  }
}

if (import.meta.main) {
  const style = JSON.parse(readFileSync(join(root, ".oxfmtrc.json"), "utf8")) as FormatConfig
  const rooms = subpaths()
    .map(([, path]) => relative(join(root, "src"), path).replace(/\.ts$/, ""))
    .filter((file) => basename(file) !== "index")
  // The compiler breaks every type of an object over several lines; those that fit into one are better there.
  const pages = await makePages(declare(), rooms, { ...style, objectWrap: "collapse" })
  if (process.argv.includes("--write")) {
    rmSync(join(root, folder), { recursive: true, force: true })
    for (const [page, text] of pages) {
      mkdirSync(join(root, dirname(page)), { recursive: true })
      writeFileSync(join(root, page), text)
    }
  } else {
    const before = globSync(`${folder}/**`, { cwd: root }).filter((path) => path.endsWith(".md"))
    const differing = [...new Set([...pages.keys(), ...before])].filter(
      (page) => !existsSync(join(root, page)) || readFileSync(join(root, page), "utf8") !== pages.get(page)
    )
    for (const page of differing.toSorted()) console.error(`reference: ${page} is not what the docstrings say`)
    if (differing.length === 0) console.log(`reference: ok (${pages.size} pages)`)
    else {
      console.error("reference: npm run reference writes it anew.")
      process.exitCode = 1
    }
  }
}
