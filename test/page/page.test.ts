// `effect-blaze dev` as it is built, in a browser: npm run test:page.
import axe from "axe-core"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { spawn, spawnSync, type ChildProcess } from "node:child_process"
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { request } from "node:http"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { chromium, type Browser, type Page } from "playwright-core"
import type { Scene } from "../../src/cli/dev/Scene.ts"

const root = fileURLToPath(new URL("../..", import.meta.url))
mkdirSync(join(root, ".cache"), { recursive: true })
const project = mkdtempSync(join(root, ".cache", "page-"))
const screenshots = process.env["SCREENSHOTS"]

const main = `import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Effect } from "effect"
import { Bot } from "effect-blaze"
import { NodeBlaze } from "effect-blaze/node"
import { bot } from "./bot.ts"

Bot.run(bot).pipe(Effect.provide(NodeBlaze.layerConfig), NodeRuntime.runMain)
`

// A red dot.
const png =
  "iVBORw0KGgoAAAANSUhEUgAAAAUAAAAFCAYAAACNbyblAAAAHElEQVQI12P4//8/w38GIAXDIBKE0DHxgljNBAAO9TXL0Y4OHwAAAABJRU5ErkJggg=="

const bot = (word: string) => `import { Effect } from "effect"
import { Worker } from "node:worker_threads"
import { Bot, Button, Delivery, Outgoing } from "effect-blaze"

// What nobody reads any more ends no bot by itself.
for (const stream of [process.stdout, process.stderr]) stream.on("error", () => {})

let pages = 0
const image = Buffer.from("${png}", "base64")

export const bot = Bot.match({
  Text: (delivery) =>
    Effect.gen(function* () {
      const text = yield* delivery.textWithoutMention
      if (text === "menu") {
        return yield* delivery.reply(
          Outgoing.buttons([Button.say("Price of BTC", "/price BTC"), Button.open("Docs", "https://example.com")])
        )
      }
      if (text === "card") {
        return yield* delivery.reply(
          Outgoing.card({
            title: "The weather",
            description: "It is going to rain.",
            icon: "https://example.com/rain.png",
            buttons: [Button.say("Tomorrow", "tomorrow")]
          })
        )
      }
      if (text === "next") return yield* delivery.reply(Outgoing.buttons([Button.say("Next", "page " + ++pages)]))
      if (text === "shout") return yield* Effect.sync(() => process.stdout.write("x".repeat(5_000_000)))
      if (text === "die") return yield* Effect.sync(() => process.kill(process.pid, "SIGKILL"))
      if (text === "pid") return yield* delivery.reply(\`my pid is \${process.pid}, mine\`)
      if (text === "thread") {
        yield* Effect.promise(() => new Promise((resolve) => new Worker("", { eval: true }).once("exit", resolve)))
      }
      if (text === "later") return Delivery.deferFor("1 hour")
      if (text === "image") return yield* delivery.reply(Outgoing.image(image))
      yield* delivery.reply(\`${word} \${text}\`)
    }),
  Image: (delivery) => delivery.reply("a fine image"),
  orElse: () => Effect.void
})
`

let dev: ChildProcess
let address: string
let output = ""
let browser: Browser
let page: Page
const complaints: Array<string> = []

const until = async (condition: () => boolean | Promise<boolean>) => {
  while (!(await condition())) await new Promise((resolve) => process.nextTick(() => setImmediate(resolve)))
}

beforeAll(async () => {
  mkdirSync(join(project, "src"))
  writeFileSync(join(project, "src/main.ts"), main)
  writeFileSync(join(project, "src/bot.ts"), bot("you said"))
  dev = spawn(process.execPath, [join(root, "dist/cli/effect-blaze.js"), "dev", "src/main.ts"], { cwd: project })
  for (const stream of [dev.stdout!, dev.stderr!]) stream.on("data", (data) => (output += String(data)))
  await until(() => /http:\S+/.test(output))
  address = /http:\S+/.exec(output)![0]
  browser = await chromium.launch({
    executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium",
    args: ["--no-sandbox"]
  })
  page = await browser.newPage({ viewport: { width: 1280, height: 900 }, reducedMotion: "reduce" })
  page.setDefaultTimeout(60_000)
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(message.text())
  })
  page.on("pageerror", (error) => complaints.push(error.message))
  await page.goto(address)
  await page.getByText("The bot is connected").waitFor()
}, 120_000)

afterAll(async () => {
  await browser?.close()
  if (dev !== undefined && dev.exitCode === null && dev.signalCode === null) {
    dev.kill("SIGINT")
    await new Promise((resolve) => dev.once("exit", resolve))
  }
  rmSync(project, { recursive: true, force: true })
})

const say = async (text: string) => {
  await page.getByRole("textbox", { name: /Message of/ }).fill(text)
  await page.keyboard.press("Enter")
}
const answers = (text: string) => page.locator(".bubble.theirs", { hasText: text })
const choose = (title: string) => page.locator(".chat", { has: page.getByText(title, { exact: true }) }).click()
describe("the page of effect-blaze dev", () => {
  it("shows what is said and answered, how far it has come, and what has travelled", async () => {
    await say("hello")
    await answers("you said hello").waitFor()
    await page.locator(".bubble.ours[data-state=acknowledged]", { hasText: "hello" }).waitFor()
    await page.locator(".bubble.theirs[data-state=read]", { hasText: "you said hello" }).waitFor()
    await page.getByRole("searchbox").fill("CREATE_MESSAGE PLAIN_TEXT")
    const frame = page.locator(".wire summary", { hasText: "→ bot" }).first()
    await frame.click()
    await page.locator(".wire details[open] pre", { hasText: "conversation_id" }).waitFor()
    await page.getByRole("searchbox").fill("")
  })

  it("keeps what is typed while the message before is on its way", async () => {
    let pass = () => {}
    const passed = new Promise<void>((resolve) => (pass = resolve))
    await page.route("**/action", async (route) => {
      await passed
      await route.continue()
    })
    await say("first")
    const box = page.getByRole("textbox", { name: /Message of/ })
    await box.fill("second")
    pass()
    await answers("you said first").waitFor()
    await page.unroute("**/action")
    assert.strictEqual(await box.inputValue(), "second")
    await page.keyboard.press("Enter")
    await answers("you said second").waitFor()
  })

  it("shows buttons and cards, which can be pressed", async () => {
    await say("menu")
    await page.getByRole("button", { name: "Price of BTC" }).click()
    await page.locator(".bubble.ours", { hasText: "/price BTC" }).waitFor()
    await answers("you said /price BTC").waitFor()
    await say("card")
    await page.getByText("It is going to rain.").waitFor()
    await page.getByRole("button", { name: "Tomorrow" }).click()
    await answers("you said tomorrow").waitFor()
  })

  it("presses the button of the message in which it is, though a newer one has its label", async () => {
    for (const _ of [1, 2]) {
      const before = await page.getByRole("button", { name: "Next", exact: true }).count()
      await say("next")
      await until(async () => (await page.getByRole("button", { name: "Next", exact: true }).count()) > before)
    }
    await page.getByRole("button", { name: "Next", exact: true }).first().click()
    await answers("you said page 1").waitFor()
  })

  it("shows an image that the bot sends, and sends one", async () => {
    await say("image")
    const image = page.getByRole("img", { name: "An image that the bot has sent" })
    await image.waitFor()
    await page.waitForFunction("[...document.images].some(({ naturalWidth }) => naturalWidth === 5)")
    await page.locator("input[type=file]").setInputFiles({
      name: "dot.png",
      mimeType: "image/png",
      buffer: Buffer.from(png, "base64")
    })
    await answers("a fine image").waitFor()
  })

  it("quotes a message, and takes one back", async () => {
    await page
      .locator(".bubble.theirs", { hasText: "you said tomorrow" })
      .getByRole("button", { name: "Quote" })
      .click()
    await say("really?")
    const asked = page.locator(".bubble.ours", { hasText: "really?" })
    await asked.locator("blockquote", { hasText: "you said tomorrow" }).waitFor()
    await answers("you said really?").waitFor()
    await asked.getByRole("button", { name: "Take back" }).click()
    await page.getByText("taken back, or disappeared").waitFor()
  })

  it("has somebody else, and groups in which the bot is mentioned", async () => {
    await page.getByLabel("Somebody else:").fill("carol")
    await page.getByRole("button", { name: "Add", exact: true }).click()
    await choose("carol")
    await say("I am new")
    await answers("you said I am new").waitFor()
    await page.getByRole("button", { name: "A group of all" }).click()
    await choose("alice, bob, carol and the bot")
    await page.getByLabel("Speaks:").selectOption("bob")
    await page.getByRole("button", { name: "Mention the bot" }).click()
    const box = page.getByRole("textbox", { name: "Message of bob" })
    await box.pressSequentially("are you here?")
    await page.keyboard.press("Enter")
    await answers("you said are you here?").waitFor()
    await choose("alice")
  })

  it("makes the connection fail, and shows that the bot comes back", async () => {
    await page.getByRole("tab", { name: "Bot" }).click()
    const handshakes = page.locator(".bot dl div", { hasText: "handshakes" }).locator("dd")
    const before = Number(await handshakes.textContent())
    await page.getByRole("tab", { name: "Faults" }).click()
    await page.getByRole("button", { name: "Cut the connection" }).click()
    await page.getByRole("tab", { name: "Bot" }).click()
    await until(async () => Number(await handshakes.textContent()) > before)
    await say("still there?")
    await answers("you said still there?").waitFor()
  })

  it("shows what the bot measures, and what it has put aside", async () => {
    await page.getByRole("tab", { name: "Bot" }).click()
    await say("later")
    const fact = (name: string) => page.locator("dl div", { hasText: name }).locator("dd")
    await until(async () => (await fact("put aside, to be offered again").textContent()) === "1")
    await page.getByText("Metrics, as the bot tells them").click()
    const row = page.getByRole("row", { name: /^blaze_handler_seconds kind deferred/ })
    await until(async () => /^1, [\d.]+ on average/.test((await row.getByRole("cell").first().textContent()) ?? ""))
    // A thread of the bot's has nothing to do with it, and closes nothing when it ends.
    const handled = page
      .getByRole("row", { name: /^blaze_handler_seconds kind acknowledged/ })
      .getByRole("cell")
      .first()
    const before = Number.parseInt((await handled.textContent())!, 10)
    await say("thread")
    await answers("you said thread").waitFor()
    await say("after the thread")
    await answers("you said after the thread").waitFor()
    await until(async () => Number.parseInt((await handled.textContent())!, 10) === before + 2)
    await page.getByText("Metrics, as the bot tells them").click()
  })

  it("says why something cannot be done", async () => {
    await page.getByLabel("Somebody else:").fill("alice")
    await page.getByRole("button", { name: "Add", exact: true }).click()
    const alert = page.getByRole("alert")
    await alert.getByText("alice is there already.").waitFor()
    await alert.getByRole("button", { name: "Close" }).click()
    // The one complaint of the browser's that is meant.
    assert.deepStrictEqual(
      complaints.splice(0).filter((text) => !text.includes("400 (Bad Request)")),
      []
    )
  })

  it("begins the bot again when its code changes, and keeps what was said", async () => {
    const saved = performance.now()
    writeFileSync(join(project, "src/bot.ts"), bot("you have said"))
    await page.locator(".bot dl div", { hasText: "begun2 times" }).waitFor()
    await say("and now?")
    await answers("you have said and now?").waitFor()
    console.log(`from a changed file to a changed answer: ${Math.round(performance.now() - saved)} ms`)
    await answers("you said hello").waitFor()
  })

  it("shows why the bot has ended, and that it is there again", async () => {
    writeFileSync(join(project, "src/bot.ts"), "export const bot = nowhere\n")
    await page.getByRole("alert").getByText("nowhere is not defined").waitFor()
    await until(() => output.includes("nowhere is not defined"))
    await say("is anybody there?")
    writeFileSync(join(project, "src/bot.ts"), bot("you said"))
    // It was pending meanwhile.
    await answers("you said is anybody there?").waitFor()
    await page.getByText("The bot is connected").waitFor()
  })

  it("shows the last words of one that a signal has ended, and of a line without end its beginning", async () => {
    await say("shout")
    await page.locator(".bubble.ours[data-state=acknowledged]", { hasText: "shout" }).waitFor()
    await say("die")
    await page.getByRole("status").getByText("The bot was ended by a signal").waitFor()
    const words = await page.locator(".crash pre").textContent()
    assert.isAbove(words!.length, 1000)
    assert.isBelow(words!.length, 100_000)
    // It would die of its message again.
    writeFileSync(join(project, "src/bot.ts"), bot("you said").replace('text === "die"', "false"))
    await answers("you said die").waitFor()
  })

  it("finds the code again that was away, as with another branch", async () => {
    rmSync(join(project, "src"), { recursive: true })
    await page.getByRole("status").getByText("The bot has ended").waitFor()
    mkdirSync(join(project, "src"))
    writeFileSync(join(project, "src/main.ts"), main)
    writeFileSync(join(project, "src/bot.ts"), bot("you say"))
    await page.getByText("The bot is connected").waitFor()
    writeFileSync(join(project, "src/bot.ts"), bot("you said"))
    await until(async () => {
      await say("which one?")
      return (await answers("you said which one?").count()) > 0
    })
  })

  it("shows long conversations to their end, each message once", async () => {
    await choose("carol")
    const carol = async () => {
      const response = await fetch(`${address}events`)
      const reader = response.body!.getReader()
      let text = ""
      while (!text.includes("\n\n")) text += Buffer.from((await reader.read()).value!).toString()
      await reader.cancel()
      const { chats } = JSON.parse(text.slice(6, text.indexOf("\n\n"))) as Scene
      return chats.find(({ title }) => title === "carol")!
    }
    const { id } = await carol()
    for (let n = 0; n < 320; n++) {
      const body = JSON.stringify({ _tag: "Say", person: "carol", chat: id, text: `m${n}` })
      await fetch(`${address}action`, { method: "POST", headers: { "content-type": "application/json" }, body })
    }
    await until(async () => (await carol()).messages.some(({ text }) => text === "you said m319"))
    const { messages } = await carol()
    assert.strictEqual(new Set(messages.map((message) => message.id)).size, messages.length)
    assert.isTrue(messages.some(({ from, text }) => from === "carol" && text === "m319"))
    await choose("alice")
  })

  it("saves a conversation as a test that passes", async () => {
    for (const [who, texts] of [
      ["bob", ["hello", "menu"]],
      ["alice, bob, carol and the bot", ["for all"]]
    ] as const) {
      await choose(who)
      for (const text of texts) await say(text)
      if (who === "bob") {
        await page.getByRole("button", { name: "Price of BTC" }).click()
        await answers("you said /price BTC").waitFor()
        await page.locator(".bubble.ours", { hasText: "hello" }).getByRole("button", { name: "Take back" }).click()
      } else {
        await answers("you said for all").waitFor()
        await answers("you said for all").getByRole("button", { name: "Quote" }).click()
        await say("indeed")
        await answers("you said indeed").waitFor()
      }
      await page.getByRole("button", { name: "Save as a test" }).click()
      await page.getByRole("dialog").getByText("import { bot } from").waitFor()
      await page.getByRole("dialog").getByRole("button", { name: "Close" }).click()
    }
    const config = `export default { test: { include: ["test/*.test.ts"] } }\n`
    writeFileSync(join(project, "vitest.config.mjs"), config)
    const { status, stdout } = spawnSync(
      process.execPath,
      [join(root, "node_modules/vitest/vitest.mjs"), "run", "--root", project],
      { cwd: project, encoding: "utf8", env: { ...process.env, NO_COLOR: "1" } }
    )
    assert.strictEqual(status, 0, stdout + readFileSync(join(project, "test/conversation-1.test.ts"), "utf8"))
    assert.match(stdout, /Tests {2}2 passed/)
    const saved = readFileSync(join(project, "test/conversation-1.test.ts"), "utf8")
    assert.include(saved, 'yield* bob.tap("Price of BTC")')
  })

  it.each([
    ["light", 1280],
    ["dark", 1280],
    ["light", 390]
  ] as const)("can be used by everybody: axe has nothing serious to say (%s, %d wide)", async (colorScheme, width) => {
    await page.emulateMedia({ colorScheme })
    await page.setViewportSize({ width, height: 900 })
    for (const tab of ["Wire", "Bot", "Faults"]) {
      await page.getByRole("tab", { name: tab }).click()
      // What the page may not run by its policy is put in from outside.
      const found = await page.evaluate<{
        violations: Array<{ id: string; impact: string; nodes: Array<{ html: string }> }>
      }>(`${axe.source}; axe.run()`)
      const serious = found.violations.filter(({ impact }) => ["serious", "critical"].includes(impact))
      assert.deepStrictEqual(
        serious.map(({ id, nodes }) => [id, ...nodes.map(({ html }) => html)]),
        []
      )
    }
    if (screenshots !== undefined) {
      await page.getByRole("tab", { name: "Bot" }).click()
      await page.getByText("Metrics, as the bot tells them").click()
      await page.screenshot({ path: join(screenshots, `bot-${colorScheme}-${width}.png`) })
      await page.getByRole("tab", { name: "Wire" }).click()
      await choose("alice")
      await page.screenshot({ path: join(screenshots, `page-${colorScheme}-${width}.png`) })
    }
    await page.setViewportSize({ width: 1280, height: 900 })
  })

  it("can be used by keyboard alone", async () => {
    await choose("bob")
    await page.getByRole("textbox", { name: "Message of bob" }).focus()
    await page.keyboard.type("by hand")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Space")
    await answers("you said by hand").waitFor()
  })

  const ask = (path: string, headers: Record<string, string> = {}, method = "GET") =>
    new Promise<number>((resolve, reject) => {
      const { hostname, port } = new URL(address)
      request({ hostname, port, path, headers, method }, (response) => {
        response.resume()
        resolve(response.statusCode!)
      })
        .once("error", reject)
        .end()
    })

  it("is there for nobody who does not know its address, and for no page of somebody else's", async () => {
    const { host, pathname } = new URL(address)
    assert.strictEqual(await ask(pathname), 200)
    assert.strictEqual(await ask("/"), 404)
    assert.strictEqual(await ask(`/${"0".repeat(32)}/`), 404)
    assert.strictEqual(await ask(pathname, { host: "evil.example" }), 404)
    assert.strictEqual(await ask(`${pathname}action`, { origin: "https://evil.example" }, "POST"), 404)
    assert.strictEqual(await ask(`${pathname}action`, { origin: `http://${host}` }, "POST"), 415)
    for (const path of [
      "../package.json",
      "..%2fpackage.json",
      ".env",
      "assets/../../cli/effect-blaze.js",
      "files/x"
    ]) {
      assert.strictEqual(await ask(pathname + path), 404)
    }
  })

  it("has made the browser complain of nothing", () => {
    assert.deepStrictEqual(complaints, [])
  })

  it("takes the bot along when it is killed", async () => {
    await choose("alice")
    await say("pid")
    const pid = Number(/my pid is (\d+), mine/.exec((await answers("my pid is").last().textContent())!)![1])
    const isThere = () => {
      try {
        return process.kill(pid, 0)
      } catch {
        return false
      }
    }
    assert.isTrue(isThere())
    dev.kill("SIGKILL")
    await until(() => !isThere())
  })
})
