// Every example of the documentation is real: those that name a file are that file, to the letter, and the files run in the tests;
// the others, in Markdown and in the docstrings of src, are type-checked and run here.
import { spawnSync } from "node:child_process"
import { globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"

const root = fileURLToPath(new URL("../..", import.meta.url))
const work = join(root, ".cache", "examples")
const offences: Array<string> = []
const programs: Array<string> = []

interface Block {
  readonly place: string
  readonly file: string | undefined
  readonly code: string
}

const blocks = (path: string): ReadonlyArray<Block> => {
  const source = readFileSync(join(root, path), "utf8")
  // The examples of a docstring stand behind its stars.
  const text = path.endsWith(".ts") ? source.replace(/^ \* ?/gm, "") : source
  return [...text.matchAll(/(?:<!-- (\S+) -->\n+)?```ts\n([\s\S]*?)```/g)].map((match) => ({
    place: `${path}:${text.slice(0, match.index).split("\n").length}`,
    file: match[1],
    code: match[2]!
  }))
}

rmSync(work, { recursive: true, force: true })
mkdirSync(work, { recursive: true })

// Not docs/api: its examples are those of the docstrings, and the rest of its code is signatures.
const pages = [
  "README.md",
  "AGENTS.md",
  ...globSync("docs/*.md", { cwd: root }),
  ...globSync("src/**/*.ts", { cwd: root })
]
for (const { code, file, place } of pages.flatMap(blocks)) {
  if (file === undefined) {
    const path = join(work, `${place.replace(/[^\w]+/g, "-")}.ts`)
    // An import of types only, as in a fragment, is no program of its own.
    writeFileSync(path, `${code}\nexport {}\n`)
    programs.push(path)
  } else if (readFileSync(join(root, file), "utf8") !== code) {
    offences.push(`${place} is not what ${file} says`)
  }
}

writeFileSync(
  join(work, "tsconfig.json"),
  JSON.stringify({
    extends: "../../tsconfig.json",
    compilerOptions: { noUnusedLocals: false, types: ["node"] },
    include: ["*.ts"],
    exclude: []
  })
)
writeFileSync(
  join(work, "run.mjs"),
  `console.assert = (ok) => { if (!ok) throw new Error("an assertion of the example does not hold") }
for (const path of process.argv.slice(2)) {
  try { await import(path) } catch (error) { console.error(path, error); process.exitCode = 1 }
}
process.exit()
`
)

const run = (name: string, command: string, args: ReadonlyArray<string>) => {
  const { status, stderr, stdout } = spawnSync(command, args, { cwd: root, encoding: "utf8" })
  if (status !== 0) offences.push(`${name} failed:\n${stdout}${stderr}`)
}
run("type-checking", join(root, "node_modules/.bin/tsc"), ["-p", work])
run("running", process.execPath, [
  "--conditions=effect-blaze-source",
  join(work, "run.mjs"),
  ...programs.map((path) => pathToFileURL(path).href)
])

for (const offence of offences) console.error(offence)
if (offences.length > 0) process.exit(1)
console.log(`examples: ok (${programs.length} ran)`)
