// docs/protocol-coverage.md, held against the sources: what they know of the protocol is on it, what it says is so, and what it cites is there.
import { assert, describe, it } from "@effect/vitest"
import { Effect, Result } from "effect"
import { Blaze, BlazeError, Endpoint, Envelope, Message, Outgoing } from "effect-blaze"
import { BlazeTest } from "effect-blaze/testing"
import { existsSync, globSync, readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("..", import.meta.url))
const read = (path: string) => readFileSync(`${root}/${path}`, "utf8")
const page = read("docs/protocol-coverage.md")

/** The cells of the rows of a part of the page. */
const rowsOf = (title: string): ReadonlyArray<ReadonlyArray<string>> => {
  const part = page.split(/^## /m).find((part) => part.startsWith(`${title}\n`)) ?? ""
  const [, , ...rows] = part.split("\n").filter((line) => line.startsWith("|"))
  return rows.map((row) =>
    row
      .slice(1, -1)
      .split("|")
      .map((cell) => cell.trim())
  )
}

/** What stands in a cell as code. */
const codeIn = (cell: string | undefined) => Array.from((cell ?? "").matchAll(/`([^`]+)`/g), ([, code]) => code!)

/** The rows by what their first cell names, in which there may be several. */
const byName = (title: string) =>
  rowsOf(title).flatMap(([first, ...cells]) => codeIn(first).map((name) => [name, cells] as const))

describe("the page of what is covered of the protocol", () => {
  it("cites tests that are there, by their files and their names", () => {
    const cited = [...page.matchAll(/`(?!test\/)([\w/]+\.test\.ts)`(?:: ("[^"]+"(?:, "[^"]+")*))?/g)]
    assert.isAbove(cited.length, 50)
    for (const [, file, names = ""] of cited) {
      assert.isTrue(existsSync(`${root}/test/${file}`), file)
      for (const [, name] of names.matchAll(/"([^"]+)"/g)) assert.include(read(`test/${file}`), name!, file)
    }
  })

  it("cites names that others can import, and files and pages that are there", () => {
    const surface = new Map<string, Set<string>>()
    for (const module of read("test/package/surface.txt").split("\n\n")) {
      const [path = "", ...names] = module.trim().split("\n")
      surface.set(path.split("/").at(-1)!, new Set(names.map((name) => name.trim().split(":")[0]!)))
    }
    const cited = [...page.matchAll(/`([A-Z]\w+)\.(\w+)`/g)]
    assert.isAbove(cited.length, 50)
    for (const [all, module, name] of cited) assert.isTrue(surface.get(module!)?.has(name!), all)
    for (const [, path] of page.matchAll(/`((?:src|test)\/[\w/.]+)`/g))
      assert.isTrue(existsSync(`${root}/${path}`), path)
    for (const [, path] of page.matchAll(/\]\(([^)]+)\)/g)) assert.isTrue(existsSync(`${root}/docs/${path}`), path)
  })

  it("leaves nothing undone but what is for people's apps only", () => {
    const undone = page.split("\n").filter((line) => line.startsWith("|") && line.includes("**not"))
    assert.isAbove(undone.length, 5)
    for (const line of undone) {
      assert.match(
        line,
        /\*\*not\*\*(?: answered)?: (?:people's apps only|the same|for pages on which people authorise)/
      )
    }
  })

  it("says of every action, category, endpoint and code what docs/protocol.md knows of it", () => {
    const protocol = read("docs/protocol.md")
    const endpoints = byName("Endpoints").map(([name]) => name.split(" ").at(-1)!.replace(/:\w+$/, ":"))
    const named = ["Actions", "Categories"].flatMap((title) => byName(title).map(([name]) => name.replace("*", "")))
    for (const name of [...named, ...endpoints]) {
      const inTable = name.startsWith("/conversations/:id/") ? `/${name.split("/")[3]}` : name
      assert.include(protocol, inTable, name)
    }
    for (const [code] of byName("Codes")) assert.include(protocol, code)
  })

  it("has the sections of docs/protocol.md that the sources cite", () => {
    const sections = new Set(Array.from(read("docs/protocol.md").matchAll(/^## (\d+)\./gm), ([, number]) => number!))
    const sources = globSync("src/**/*.ts", { cwd: root }).map(read).join("\n")
    const cited = Array.from(sources.matchAll(/protocol(?:\.md)?`? section (\d+)/g), ([all, number]) => [all, number!])
    assert.isAbove(cited.length, 5)
    for (const [all, number] of cited) {
      assert.include(all!, "protocol.md")
      assert.isTrue(sections.has(number!), all)
    }
  })

  it.effect("has every action, and what the built-in server does not know is told so", () =>
    Effect.gen(function* () {
      const rows = byName("Actions")
      assert.includeMembers(
        rows.map(([action]) => action),
        Object.values(Envelope.Action)
      )
      const { request } = yield* Blaze.Blaze
      for (const [action, [from, , server]] of rows) {
        if (from === "server") continue
        const answer = yield* Effect.result(request(action, {}))
        const isUnknown =
          Result.isFailure(answer) &&
          answer.failure.reason._tag === "ApiFailure" &&
          answer.failure.reason.field === "action"
        assert.strictEqual(server?.startsWith("no"), isUnknown, action)
      }
    }).pipe(Effect.provide(BlazeTest.layer))
  )

  it("has every category, and tells which are read", () => {
    const rows = byName("Categories")
    const written = ["src/Message.ts", "src/Outgoing.ts"].flatMap((path) =>
      Array.from(
        read(path).matchAll(/"((?:PLAIN|APP|SYSTEM|MESSAGE|ENCRYPTED)_[A-Z_]+)"/g),
        ([, category]) => category!
      )
    )
    assert.isAbove(written.length, 10)
    assert.includeMembers(
      rows.map(([category]) => category),
      written
    )
    for (const [name, [kind = ""]] of rows) {
      const category = name.replace("*", "FUTURE")
      const message = Message.fromView({ message_id: "1", category, data: "" })
      const isRead = !Message.isUnknown(message) || !message.reason.startsWith("the category")
      assert.strictEqual(!kind.startsWith("`Message.Unknown`"), isRead, name)
      if (!Message.isUnknown(message)) assert.include(kind, `\`Message.${message._tag}\``, name)
    }
    const helpers = new Set(["attached", "doubts", "fromContent", "maximumRequestSize", "mention", "toParams"])
    for (const constructor of Object.keys(Outgoing).filter((name) => !helpers.has(name))) {
      assert.include(page, `\`Outgoing.${constructor}\``)
    }
  })

  it("has every endpoint, and tells which of them the built-in server answers", () => {
    const rows = byName("Endpoints")
    const served = globSync("src/testing/internal/*.ts", { cwd: root }).map(read).join("\n")
    const there = new Map<string, string>(
      Object.entries(Endpoint).flatMap(([name, value]) =>
        typeof value === "object" && "method" in value && "path" in value
          ? [[`${value.method} ${value.path.split("?")[0]}`, name] as const]
          : []
      )
    )
    assert.isAbove(there.size, 10)
    assert.includeMembers(
      rows.map(([endpoint]) => endpoint),
      [...there.keys()]
    )
    const values = new Set([...there.values()].map((name) => `Endpoint.${name}`))
    for (const [endpoint, [value, , server]] of rows) {
      const name = there.get(endpoint)
      const cited = codeIn(value).filter((code) => values.has(code))
      assert.deepStrictEqual(cited, name === undefined ? [] : [`Endpoint.${name}`], endpoint)
      const isServed = name !== undefined && new RegExp(`\\bEndpoint\\.${name}\\b`).test(served)
      assert.strictEqual(server?.startsWith("yes"), isServed, endpoint)
    }
  })

  it("has every code, and what comes of it", () => {
    const rows = byName("Codes").filter(([code]) => /^\d+$/.test(code))
    const classOf = (code: number) => {
      const { isFatal, isFinal, isRetryable } = BlazeError.fromApi({ code })
      return isFatal ? "ends the bot" : isFinal ? "final" : isRetryable ? "tried again" : "neither"
    }
    for (const [code, [, fate = ""]] of rows) {
      assert.strictEqual(/^[\w ]+/.exec(fate)?.[0], classOf(Number(code)), code)
    }
    const ranges = [400, 7000, 10_000, 20_000, 30_000]
    const known = ranges
      .flatMap((first) => Array.from({ length: first === 400 ? 100 : 500 }, (_, n) => first + n))
      .filter((code) => classOf(code) !== "neither")
    assert.isAbove(known.length, 25)
    assert.includeMembers(
      rows.map(([code]) => Number(code)),
      known
    )
  })
})
