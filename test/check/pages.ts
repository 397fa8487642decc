// The pages of the documentation: each is there in English and in Chinese, with the same headings, the same code, the same rows of tables and
// the same links, and whatever a page links to is there. The reference, docs/api, is in English only, as the docstrings are that it is made from.
import { existsSync, globSync, readFileSync } from "node:fs"
import { dirname, join, normalize, relative } from "node:path"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("../..", import.meta.url))
const offences: Array<string> = []
const read = (path: string) => readFileSync(join(root, path), "utf8")

const chineseOf = (page: string) => (page === "README.md" ? "README.zh.md" : page.replace(/^docs\//, "docs/zh/"))

/** With what makes a link or a heading taken out that only looks like one. */
const withoutCode = (text: string) =>
  text.replace(/```[\s\S]*?```/g, "").replace(/`[^`\n]*`/g, (code) => "c".repeat(code.length))

const headingsOf = (text: string) =>
  [...text.replace(/```[\s\S]*?```/g, "").matchAll(/^(#+) (.*)$/gm)].map((match) => ({
    level: match[1]!.length,
    title: match[2]!
  }))

/** What the rows of tables are about, where that is a name. */
const rowsOf = (text: string) => [...text.matchAll(/^\| (`[^`\n]+`) \|/gm)].map((match) => match[1]!)

const codeOf = (text: string) => [...text.matchAll(/(?:<!-- \S+ -->\n+)?```[\s\S]*?```/g)].map(([code]) => code)

/** As GitHub does it. */
const slugOf = (title: string) =>
  title
    .replace(/<[^>]*>/g, "")
    .replace(/\[([^\]]*)\]\([^)]*\)/g, "$1")
    .trim()
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\p{M} _-]/gu, "")
    .replaceAll(" ", "-")

const anchorsOf = (text: string) => {
  const anchors = new Set([...text.matchAll(/<a id="([^"]+)"><\/a>/g)].map((match) => match[1]!))
  const seen = new Map<string, number>()
  for (const { title } of headingsOf(text)) {
    const slug = slugOf(title)
    const count = seen.get(slug) ?? 0
    seen.set(slug, count + 1)
    anchors.add(count === 0 ? slug : `${slug}-${count}`)
  }
  return anchors
}

const linksOf = (text: string) =>
  [...withoutCode(text).matchAll(/\]\(([^)\s]+)\)/g)].map((match) => match[1]!).filter((link) => !/^[a-z]+:/.test(link))

const checkLinks = (page: string) => {
  for (const link of linksOf(read(page))) {
    const [path = "", anchor] = link.split("#")
    const target = path === "" ? page : normalize(join(dirname(page), path))
    if (!existsSync(join(root, target))) offences.push(`${page}: ${link} leads nowhere`)
    else if (anchor !== undefined && target.endsWith(".md") && !anchorsOf(read(target)).has(anchor)) {
      offences.push(`${page}: ${link} leads to no heading of ${target}`)
    }
  }
}

/** What a link of a page is about, whichever language it leads to. */
const aboutOf = (page: string, link: string) => {
  const [path = "", anchor] = link.split("#")
  const target = path === "" ? page : normalize(join(dirname(page), path))
  const english = target === "README.zh.md" ? "README.md" : target.replace(/^docs\/zh\//, "docs/")
  return anchor === undefined ? english : `${english}#${anchor}`
}

const difference = (ours: ReadonlyArray<string>, theirs: ReadonlyArray<string>) => {
  const index = ours.findIndex((one, n) => one !== theirs[n])
  const at = index < 0 ? ours.length : index
  return ours.length === theirs.length && index < 0
    ? undefined
    : `${(ours[at] ?? "nothing").slice(0, 70)} | ${(theirs[at] ?? "nothing").slice(0, 70)}`
}

const compare = (english: string) => {
  const chinese = chineseOf(english)
  if (!existsSync(join(root, chinese))) return offences.push(`${chinese} is missing`)
  const [ours, theirs] = [read(english), read(chinese)]
  const parts: ReadonlyArray<[what: string, of: (page: string, text: string) => ReadonlyArray<string>]> = [
    ["headings", (_, text) => headingsOf(text).map(({ level }) => "#".repeat(level))],
    ["code", (_, text) => codeOf(text)],
    ["rows", (_, text) => rowsOf(text)],
    [
      "links",
      (page, text) =>
        linksOf(text)
          .map((link) => aboutOf(page, link))
          .toSorted()
    ]
  ]
  for (const [what, of] of parts) {
    const found = difference(of(english, ours), of(chinese, theirs))
    if (found !== undefined) offences.push(`${chinese} has other ${what} than ${english}: ${JSON.stringify(found)}`)
  }
}

const pages = ["README.md", ...globSync("docs/*.md", { cwd: root })].toSorted()
const wanted = process.argv.slice(2).map((path) => relative(root, join(process.cwd(), path)))
const isWanted = (page: string) => wanted.length === 0 || wanted.includes(page) || wanted.includes(chineseOf(page))
for (const page of pages.filter(isWanted)) compare(page)
const others = globSync(["README.zh.md", "docs/zh/*.md", "docs/api/**/*.md"], { cwd: root })
for (const page of [...pages, "AGENTS.md", "llms.txt", ...others]) {
  if (wanted.length === 0 || wanted.includes(page)) checkLinks(page)
}
for (const page of globSync("docs/zh/*.md", { cwd: root })) {
  if (!pages.some((english) => chineseOf(english) === page)) offences.push(`${page} has no English page`)
}

if (offences.length > 0) {
  console.error(offences.join("\n"))
  process.exit(1)
}
console.log(`pages: ok (${pages.length} in two languages)`)
