// The package as others get it: packed, looked over by publint and attw, installed in a project of its own from npm,
// and used there from TypeScript and from plain JavaScript. Nothing of this checkout is in reach of that project.
import { spawnSync } from "node:child_process"
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { surface } from "./surface.ts"

interface Manifest {
  readonly name: string
  readonly version: string
  readonly devDependencies: Readonly<Record<string, string>>
}

const root = fileURLToPath(new URL("../..", import.meta.url))
const fixtures = join(root, "test/package/fixtures")
const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as Manifest

class Complaint extends Error {}

interface Ran {
  readonly status: number | null
  readonly stdout: string
  readonly output: string
}

const attempt = (cwd: string, command: string, ...args: ReadonlyArray<string>): Ran => {
  const { error, status, stderr, stdout } = spawnSync(command, args, { cwd, encoding: "utf8" })
  if (error) throw error
  return { status, stdout, output: `${stdout}${stderr}` }
}

const run = (cwd: string, command: string, ...args: ReadonlyArray<string>): Ran => {
  const ran = attempt(cwd, command, ...args)
  if (ran.status !== 0) throw new Complaint(`${command} ${args.join(" ")} ended with ${ran.status}.\n${ran.output}`)
  return ran
}

const bin = (name: string) => join(root, "node_modules/.bin", name)
const passed = (what: string) => console.log(`package: ${what}`)

/** The newest version that CHANGELOG.md tells of is the one that is packed, whether it is released yet or not. */
const versionIsTold = () => {
  const [, newest] = /^## (\S+), .+$/m.exec(readFileSync(join(root, "CHANGELOG.md"), "utf8")) ?? []
  if (newest === manifest.version) return passed(`${newest} stands in CHANGELOG.md`)
  throw new Complaint(`CHANGELOG.md begins with ${newest}, and package.json says ${manifest.version}.`)
}

const pack = (into: string): string => {
  run(root, "npm", "run", "build")
  run(root, "npm", "pack", "--json", "--pack-destination", into)
  // The shape of the JSON differs between versions of npm; the directory holds nothing but the tarball.
  const [tarball] = readdirSync(into)
  if (tarball === undefined) throw new Complaint("npm pack made no tarball.")
  passed(tarball)
  return join(into, tarball)
}

/**
 * `@types/ws` is no dependency of ours. Where it is installed all the same, by way of `@effect/platform-node`, the
 * compiler would not complain; so it is searched for.
 */
const declarationsWithoutWs = () => {
  const dist = join(root, "dist")
  const declarations = readdirSync(dist, { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".d.ts"))
  const bad = declarations.filter((file) =>
    /(?:\bfrom\s*|\bimport\s*\(?\s*|\btypes=)["']ws["']/.test(readFileSync(join(dist, file), "utf8"))
  )
  if (bad.length > 0) throw new Complaint(`Declarations with types of ws: ${bad.join(", ")}`)
  passed(`no types of ws in ${declarations.length} declarations`)
}

// They are exported by a pattern, which neither attw nor a person looks behind.
const rooms = readdirSync(join(root, "src"))
  .filter((file) => file.endsWith(".ts") && file !== "index.ts")
  .map((file) => file.replace(/\.ts$/, ""))
const subpaths = ["node", "cluster", "web", "testing", ...rooms]

/** A room that is added without a line in the fixture would go untried. */
const everySubpathIsUsed = () => {
  const consumer = readFileSync(join(fixtures, "consumer.ts"), "utf8")
  const unused = subpaths.filter((subpath) => !consumer.includes(`from "${manifest.name}/${subpath}"`))
  if (unused.length > 0) throw new Complaint(`consumer.ts does not import ${unused.join(", ")}.`)
}

/** What is not for users cannot be imported by them. */
const nothingInternalIsExported = (project: string) => {
  const internal = readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" })
    .map((file) => file.replaceAll("\\", "/"))
    .filter((file) => /(?:^|\/)internal\/.*\.ts$/.test(file))
    .map((file) => file.replace(/\.ts$/, ""))
  for (const subpath of [...internal, "index", "node/index", "cluster/index", "web/index", "testing/index"]) {
    const program = `import("${manifest.name}/${subpath}").then(() => console.log("there"), ({ code }) => console.log(code))`
    const { stdout } = run(project, process.execPath, "--eval", program)
    if (stdout !== "ERR_PACKAGE_PATH_NOT_EXPORTED\n") throw new Complaint(`"${subpath}" can be imported: ${stdout}`)
  }
  passed(`${internal.length} internal rooms are nobody's`)
}

/** A program that imports each name of the public surface, the types too, and finds no other value in any room. */
const surfaceProgram = (): string =>
  [
    'import * as assert from "node:assert/strict"',
    ...surface().flatMap(([specifier, names], n) => {
      const types = names.filter(({ isType }) => isType).map(({ name }) => `${name} as Type${n}${name}`)
      const values = names.filter(({ isValue }) => isValue).map(({ name }) => name)
      return [
        ...(types.length === 0 ? [] : [`import type { ${types.join(", ")} } from "${specifier}"`]),
        `import * as room${n} from "${specifier}"`,
        `assert.deepEqual(Object.keys(room${n}).toSorted(), ${JSON.stringify(values.toSorted())})`,
        `export const names${n}: Record<keyof typeof room${n}, true> = { ${values.map((name) => `${name}: true`).join(", ")} }`
      ]
    }),
    'console.log("surface ok")'
  ].join("\n")

const tsconfig = (lib: ReadonlyArray<string>) => ({
  compilerOptions: {
    target: "ES2023",
    lib,
    types: ["node"],
    module: "NodeNext",
    strict: true,
    exactOptionalPropertyTypes: true,
    skipLibCheck: false,
    // Whoever writes a library on ours needs types that can be named from outside.
    declaration: true,
    outDir: "out"
  },
  include: ["consumer.ts", "surface.ts"]
})

const install = (project: string, tarball: string) => {
  const names = ["effect", "@effect/platform-node", "typescript", "@types/node"]
  const wanted = names.map((name) => `${name}@${manifest.devDependencies[name]}`)
  mkdirSync(project)
  writeFileSync(
    join(project, "package.json"),
    JSON.stringify({ name: "consumer", version: "1.0.0", private: true, type: "module" })
  )
  for (const file of ["consumer.ts", "consumer.mjs"]) copyFileSync(join(fixtures, file), join(project, file))
  writeFileSync(join(project, "surface.ts"), surfaceProgram())
  run(project, "npm", "install", "--save-exact", tarball, ...wanted)
  // Two copies of effect would be two sets of types, and services that do not find each other.
  const { stdout } = run(project, "npm", "ls", "effect", "--all", "--parseable")
  const copies = new Set(stdout.split("\n").filter((path) => /[\\/]effect$/.test(path)))
  if (copies.size !== 1) throw new Complaint(`${copies.size} copies of effect were installed.\n${stdout}`)
  passed(`installed with ${wanted.join(", ")}`)
}

/** Declarations of other packages are checked along with ours; what is wrong in them is told, but is no failure. */
const typeCheck = (project: string, lib: ReadonlyArray<string>): number => {
  writeFileSync(join(project, "tsconfig.json"), JSON.stringify(tsconfig(lib)))
  const tsc = join(project, "node_modules/typescript/bin/tsc")
  const { output, status } = attempt(project, process.execPath, tsc, "--pretty", "false")
  const errors = output.split("\n").filter((line) => /\berror TS\d+:/.test(line))
  const foreign = errors.filter(
    (line) => line.startsWith("node_modules/") && !line.startsWith(`node_modules/${manifest.name}/`)
  )
  if (errors.length > foreign.length || (status !== 0 && errors.length === 0))
    throw new Complaint(`tsc with lib ${lib.join(", ")} does not accept the package.\n${output}`)
  for (const line of foreign) passed(`not ours: ${line}`)
  passed(`tsc with lib ${lib.join(", ")}, declarations checked: ${foreign.length} errors in other packages`)
  return foreign.length
}

/** As npx has it: with what npm installs along, and no optional peers. */
const commandAlone = (tarball: string) => {
  const project = join(temporary, "alone")
  mkdirSync(project)
  writeFileSync(join(project, "package.json"), JSON.stringify({ name: "alone", version: "1.0.0", private: true }))
  run(project, "npm", "install", tarball)
  if (readdirSync(join(project, "node_modules")).includes("@effect")) throw new Complaint("An optional peer is there.")
  const command = join(project, "node_modules/.bin", manifest.name)
  const { stdout } = run(project, command, "--version")
  const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { readonly version: string }
  if (!stdout.includes(version)) throw new Complaint(`${command} --version says ${stdout}`)
  const { output, status } = attempt(project, command, "doctor", "--keystore", "nowhere.json")
  if (status !== 1 || !output.includes("NO  keystore: The keystore cannot be used")) throw new Complaint(output)
  passed("command ok, without @effect/platform-node")
}

/** What `create` makes, with the package as it is packed: it type-checks, and passes its test. */
const created = (project: string, tarball: string) => {
  const made = join(temporary, "made-bot")
  run(temporary, join(project, "node_modules/.bin", manifest.name), "create", made)
  const { devDependencies, dependencies } = JSON.parse(readFileSync(join(made, "package.json"), "utf8")) as {
    readonly dependencies: Record<string, string>
    readonly devDependencies: Record<string, string>
  }
  // Not from the registry, where this version is not yet.
  run(made, "npm", "install", "--no-save", tarball, ...Object.entries(devDependencies).map((each) => each.join("@")))
  run(made, "npm", "run", "check")
  const floating = join(made, "src/floating.ts")
  writeFileSync(
    floating,
    `import { Effect } from "effect"
import { Bot } from "effect-blaze"
export const bot = Bot.match({ Text: (delivery) => Effect.sync(() => { delivery.reply("hi") }), orElse: () => Effect.void })
`
  )
  const found = attempt(made, "npm", "run", "check")
  if (found.status === 0 || !found.output.includes("floatingEffect")) throw new Complaint(found.output)
  rmSync(floating)
  run(made, "npm", "test")
  says(made, join(root, "test/package/fixtures/dev.mjs"), "dev ok")
  const again = attempt(temporary, join(project, "node_modules/.bin", manifest.name), "create", made)
  if (again.status !== 1 || !again.output.includes("is not empty")) throw new Complaint(again.output)
  passed(`created with ${Object.keys({ ...dependencies, ...devDependencies }).join(", ")}, checked and tested`)
}

const says = (project: string, program: string, line: string) => {
  const { output, stdout } = run(project, process.execPath, program)
  if (stdout !== `${line}\n`)
    throw new Complaint(`${program} was to say "${line}" and nothing else. It said:\n${output}`)
  passed(line)
}

const temporary = mkdtempSync(join(tmpdir(), "effect-blaze-package-"))
try {
  everySubpathIsUsed()
  versionIsTold()
  const packed = join(temporary, "packed")
  mkdirSync(packed)
  const tarball = pack(packed)
  declarationsWithoutWs()
  run(root, bin("publint"), "--strict", tarball)
  passed("publint")
  run(root, bin("attw"), tarball, "--profile", "esm-only", "--include-entrypoints", ...subpaths)
  passed("attw")
  const project = join(temporary, "project")
  install(project, tarball)
  // A type that effect cannot find is `any`, behind which an error of ours could hide; with DOM, it finds CryptoKey and
  // JsonWebKey.
  if (typeCheck(project, ["ES2024", "DOM"]) > 0) throw new Complaint("With DOM there should be no errors at all.")
  typeCheck(project, ["ES2024"])
  nothingInternalIsExported(project)
  says(project, "out/consumer.js", "consumer ok")
  says(project, "out/surface.js", "surface ok")
  says(project, "consumer.mjs", "javascript ok")
  commandAlone(tarball)
  created(project, tarball)
} catch (error) {
  if (!(error instanceof Complaint)) throw error
  console.error(error.message)
  process.exitCode = 1
} finally {
  rmSync(temporary, { recursive: true, force: true })
}
