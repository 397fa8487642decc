// The reference: what a page makes of the docstrings and declarations of a room.
import { assert, describe, it } from "@effect/vitest"
import { readFileSync } from "node:fs"
import { makePages } from "./package/reference.ts"
import { surface } from "./package/surface.ts"

const style = { semi: false, objectWrap: "collapse" } as const

/** The page of a room that is declared so; other files by their names. */
const page = async (declared: string, others: Readonly<Record<string, string>> = {}, source = "") => {
  const heads = { Room: `/**\n * A room. It has a second sentence.\n */\n${source}`, index: "/** All. */\n" }
  const pages = await makePages(
    {
      source: (file) => ({ ...heads, ...others })[file]!,
      declared: (file) => ({ Room: declared, ...others })[file]!
    },
    ["Room", ...Object.keys(others).filter((file) => /^[A-Z]/.test(file))],
    style
  )
  return { text: pages.get("docs/api/Room.md")!, index: pages.get("docs/api/README.md")! }
}

const headings = (text: string): ReadonlyArray<string> => text.match(/^##.*$/gm) ?? []
const fences = (text: string) => Array.from(text.matchAll(/```ts\n([^]*?)\n```/g), ([, code]) => code)

describe("a page", () => {
  it("has the categories in their order, and last what has none", async () => {
    const { text } = await page(`
      export declare const loose: number
      /**
       * A.
       *
       * @category models
       */
      export declare const a: string
      /**
       * B.
       *
       * @category layers
       */
      export declare const b: string
      /**
       * C.
       *
       * @category models
       */
      export declare const c: string
    `)
    assert.deepStrictEqual(headings(text), [
      "## Models",
      "### a",
      "### c",
      "## Layers",
      "### b",
      "## Other",
      "### loose"
    ])
  })

  it("has one heading for a value and its type, and for overloads", async () => {
    const { text } = await page(`
      /**
       * An id.
       *
       * @category models
       */
      export declare const Id: { readonly brand: "Id" }
      /** @since 0.1.0 */
      export type Id = typeof Id
      /** A box. */
      export declare class Box {
        #private
        readonly open: boolean
        /** Who sees it. */
        private secret
      }
      export interface Box {
        readonly size: number
      }
      export declare function pick(a: string): string
      export declare function pick(a: number): number
    `)
    assert.deepStrictEqual(headings(text), ["## Models", "### Id", "## Other", "### Box", "### pick"])
    assert.deepStrictEqual(fences(text), [
      `const Id: { readonly brand: "Id" }\n\ntype Id = typeof Id`,
      `class Box {\n  readonly open: boolean\n}\n\ninterface Box {\n  readonly size: number\n}`,
      `function pick(a: string): string\n\nfunction pick(a: number): number`
    ])
  })

  it("has what it is before the signature, and its parts behind it as they are written", async () => {
    const { text, index } = await page(`
      /**
       * Says so; see \`docs/protocol.md\`.
       *
       * **Details**
       *
       * More of it.
       *
       * **Example** (Saying)
       *
       * \`\`\`ts
       * const path = "\`docs/protocol.md\`"
       * \`\`\`
       *
       * @category words
       * @since 0.1.0
       */
      export declare const say: (words: string) => void
    `)
    const section = text.slice(text.indexOf("### say"))
    assert.strictEqual(
      section,
      `### say

Says so; see [docs/protocol.md](../protocol.md).

\`\`\`ts
const say: (words: string) => void
\`\`\`

**Details**

More of it.

**Example** (Saying)

\`\`\`ts
const path = "\`docs/protocol.md\`"
\`\`\`
`
    )
    assert.include(index, "- [Room](Room.md): A room.\n")
  })

  it("has what comes from an internal file, under the names that can be imported", async () => {
    const { text } = await page(
      `
        import * as Inner from "./internal/Inner.ts"
        export type { Shown } from "./internal/Inner.ts"
        export * from "./internal/All.ts"
        export declare const of: (shown: Inner.Shown, other: import("./Other.ts").Thing) => Inner.Elsewhere
      `,
      {
        "internal/Inner": `
          /** Shown. */
          export interface Shown { readonly next: Shown }
          export declare const unseen: number
          export type Elsewhere = string
        `,
        "internal/All": `export declare const all: number`,
        Other: `export type { Elsewhere } from "./internal/Inner.ts"\nexport type Thing = number`
      }
    )
    assert.deepStrictEqual(headings(text), ["## Other", "### Shown", "### all", "### of"])
    assert.strictEqual(fences(text)[2], "const of: (shown: Shown, other: Other.Thing) => Other.Elsewhere")
    assert.notInclude(text, "unseen")
    assert.notInclude(text, "internal")
  })

  it("says what a class extends as the source does, and has the members that several inherit", async () => {
    const { text } = await page(
      `
        declare const Failure_base: Expanded<{ a: 1 }>
        export declare class Failure extends Failure_base {
          get message(): string
        }
        type Hidden = { a: 1 }
        declare abstract class Base {
          /** Its name. */
          readonly name: string
          constructor(hidden: Hidden)
        }
        export declare class One extends Base {
          constructor(name: string)
        }
        declare const unseen: number
      `,
      {},
      `
        const fields = { code: Int }
        export class Failure extends Tagged<Failure>("Failure")("Failure", fields) {
          get message() { return "" }
        }
      `
    )
    assert.deepStrictEqual(headings(text), ["## Other", "### Failure", "### One", "## Inherited", "### Base"])
    assert.deepStrictEqual(fences(text), [
      `class Failure extends Tagged<Failure>("Failure")("Failure", { code: Int }) {\n  get message(): string\n}`,
      `class One extends Base {\n  constructor(name: string)\n}`,
      `abstract class Base {\n  /** Its name. */\n  readonly name: string\n}`
    ])
  })
})

it("every name that can be imported has a heading", () => {
  const missing = surface().flatMap(([specifier, names]) => {
    const room = specifier.replace(/^effect-blaze\/?/, "")
    if (!/[A-Z]/.test(room)) return []
    const found = headings(readFileSync(new URL(`../docs/api/${room}.md`, import.meta.url), "utf8"))
    return names.filter(({ name }) => !found.includes(`### ${name}`)).map(({ name }) => `${specifier} ${name}`)
  })
  assert.deepStrictEqual(missing, [])
})
