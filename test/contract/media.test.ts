// Files between bots and people, in memory and over the network.
import { assert, describe, it } from "@effect/vitest"
import { NodeFileSystem } from "@effect/platform-node"
import { Effect, FileSystem, Layer, Option, Redacted, Result, Schema, Stream } from "effect"
import {
  type Attachments,
  Attachments as Files,
  Blaze,
  type BlazeError,
  Bot,
  Broadcast,
  Delivery,
  Ids,
  Keyed,
  Message,
  Outgoing,
  Sender,
  Settings
} from "effect-blaze"
import { BlazeServer, BlazeTest } from "effect-blaze/testing"
import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { seeded } from "../support.ts"
import { both, memoryServer, scene } from "./faces.ts"

const random = seeded(7)
const bytesOf = (size: number) => Uint8Array.from({ length: size }, () => 256 * random())
const large = bytesOf(700_000)
/** The smallest PNG: 1 by 1. */
const png = new Uint8Array(
  Buffer.from(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
    "base64"
  )
)

const soon = Settings.layer({ flushTimeout: 0 })

const running = Effect.fnUntraced(function* (
  { client }: Pick<Effect.Success<typeof scene>, "client">,
  handler: (delivery: Delivery.Delivery) => Effect.Effect<unknown, unknown, Blaze.Services>
) {
  yield* Bot.run(handler).pipe(
    Effect.provide(client),
    Effect.provide([soon, Layer.succeed(Keyed.Grace, 0)]),
    Effect.forkScoped
  )
})

const has = (person: BlazeServer.Person, count: number) =>
  Effect.map(person.received, (received) => received.length >= count)

const reasonOf = (result: Result.Result<unknown, BlazeError.BlazeError>) =>
  Result.isFailure(result) ? result.failure.message : "done"

const payloads = (person: BlazeServer.Person) =>
  Effect.map(person.received, (received) => received.map(({ text }) => JSON.parse(text) as Record<string, unknown>))

/** With what a bot has, without messages. */
const within = <A, E>(
  { client }: Pick<Effect.Success<typeof scene>, "client">,
  effect: Effect.Effect<A, E, Blaze.Services>,
  settings: Partial<Settings.Settings> = {}
) => effect.pipe(Effect.provide(client), Effect.provide(Settings.layer({ flushTimeout: 0, ...settings })))

const received = (download: Stream.Stream<Uint8Array, BlazeError.BlazeError, Attachments.Attachments>) =>
  Effect.map(Stream.runCollect(download), (pieces) => Buffer.concat(pieces))

describe("a file that is sent", () => {
  both(
    "is uploaded and shown, by its bytes, its path or a stream of it, as what it is",
    Effect.gen(function* () {
      const all = yield* scene
      const { alice } = all
      const directory = mkdtempSync(join(tmpdir(), "media-"))
      writeFileSync(join(directory, "report.pdf"), large)
      yield* alice.say("send")
      yield* running(
        all,
        Bot.match({
          Text: Effect.fnUntraced(function* (it) {
            yield* it.reply(Outgoing.image(png, { caption: "a dot" }))
            yield* it.reply(Outgoing.file(join(directory, "report.pdf")))
            yield* it.reply(
              Outgoing.file({
                stream: Stream.make(large.subarray(0, 10), large.subarray(10)),
                size: large.length,
                name: "a.zip",
                key: "zip"
              })
            )
            yield* it.reply(Outgoing.audio(bytesOf(10), { duration: "3 seconds", waveform: Uint8Array.of(1, 2, 3) }))
            yield* it.reply(
              Outgoing.video(bytesOf(20), {
                name: "a.mp4",
                duration: 2500,
                width: 640,
                height: 480,
                thumbnail: "LEHV6n"
              })
            )
            yield* it.reply(
              Outgoing.live({
                url: "https://example.com/a.m3u8",
                width: 16,
                height: 9,
                thumbUrl: "https://example.com/a.png"
              })
            )
          }),
          orElse: () => Effect.void
        })
      )
      yield* all.reaches(has(alice, 6))
      const [image, file, zip, audio, video, live] = yield* payloads(alice)
      assert.deepInclude(image, { mime_type: "image/png", width: 1, height: 1, size: png.length, caption: "a dot" })
      assert.deepInclude(file, { mime_type: "application/pdf", name: "report.pdf", size: large.length })
      assert.deepInclude(zip, { mime_type: "application/zip", name: "a.zip", size: large.length })
      assert.deepInclude(audio, { duration: 3000, waveform: "AQID", size: 10 })
      assert.deepInclude(video, {
        mime_type: "video/mp4",
        duration: 2500,
        width: 640,
        height: 480,
        thumbnail: "LEHV6n"
      })
      assert.deepStrictEqual(live, {
        url: "https://example.com/a.m3u8",
        thumb_url: "https://example.com/a.png",
        width: 16,
        height: 9
      })
      const shown = yield* alice.received
      assert.deepStrictEqual(Option.getOrThrow(yield* alice.openFile(shown[0]!)), png)
      for (const message of shown.slice(1, 3)) {
        assert.isTrue(Buffer.from(large).equals(Option.getOrThrow(yield* alice.openFile(message))))
      }
      assert.deepStrictEqual(
        shown.map(({ category }) => category),
        ["PLAIN_IMAGE", "PLAIN_DATA", "PLAIN_DATA", "PLAIN_AUDIO", "PLAIN_VIDEO", "PLAIN_LIVE"]
      )
    })
  )

  it.effect("is read once where its answer has a key or an id, and twice where its bytes make the id", () => {
    const path = join(mkdtempSync(join(tmpdir(), "media-")), "report.pdf")
    writeFileSync(path, large)
    let reads = 0
    const counting = Layer.effect(
      FileSystem.FileSystem,
      Effect.map(FileSystem.FileSystem, (files) => ({
        ...files,
        stream: (path: string, options: Parameters<typeof files.stream>[1]) =>
          Stream.suspend(() => {
            if (options?.bytesToRead === large.length) reads++
            return files.stream(path, options)
          })
      }))
    ).pipe(Layer.provide(NodeFileSystem.layer))
    const bot = Blaze.layer.pipe(
      Layer.provide(BlazeTest.layerTransport),
      Layer.provide(counting),
      Layer.provide(BlazeTest.layerPlatform),
      Layer.provideMerge(BlazeTest.layerServer),
      Layer.provide(soon)
    )
    return Effect.gen(function* () {
      const alice = yield* BlazeTest.user("alice")
      const id = Schema.decodeSync(Ids.MessageId)("7b6a1d0e-2f3c-4c5d-8e9f-0a1b2c3d4e5f")
      const counts: Array<number> = []
      for (const options of [{ key: "report" }, { id }, undefined]) {
        yield* alice.say("send")
        reads = 0
        const { deliveries } = yield* Blaze.Blaze
        yield* deliveries.pipe(
          Stream.take(1),
          Stream.mapEffect(Delivery.handle((it) => it.reply(Outgoing.file(path), options))),
          Stream.runDrain
        )
        counts.push(reads)
        // Another file for the next one: what is known is not uploaded again.
        writeFileSync(path, bytesOf(large.length))
      }
      assert.deepStrictEqual(counts, [1, 1, 2])
    }).pipe(Effect.provide(bot))
  })

  both(
    "and is cut in the middle is one message with one attachment, after the handler was tried again",
    Effect.gen(function* () {
      const all = yield* scene
      const { alice, bot, server } = all
      yield* server.inject({ _tag: "CutTransfer", after: 300_000 })
      yield* alice.say("send")
      let runs = 0
      yield* running(
        all,
        Bot.match({
          Text: (it) => {
            runs++
            // It cannot be read twice, so that the handler has to be.
            const stream = Stream.make(large.subarray(0, 200_000), large.subarray(200_000))
            return it.reply(Outgoing.file({ stream, size: large.length, key: "it" }))
          },
          orElse: () => Effect.void
        })
      )
      yield* all.reaches(has(alice, 1))
      yield* all.quiet
      const shown = yield* alice.received
      assert.strictEqual(shown.length, 1)
      assert.strictEqual(runs, 2)
      assert.isTrue(Buffer.from(large).equals(Option.getOrThrow(yield* alice.openFile(shown[0]!))))
      assert.deepStrictEqual(
        (yield* bot.sent).map(({ attempts }) => attempts),
        [1]
      )
      assert.strictEqual(yield* bot.attachments, 1)
    })
  )

  both(
    "is uploaded once, though its message is lost and sent again, and to several people",
    Effect.gen(function* () {
      const all = yield* scene
      const { alice, bot, server } = all
      const bob = yield* server.user(bot, "bob")
      yield* server.inject({ _tag: "CutTransfer", after: 100 })
      yield* server.inject({ _tag: "FailRequest", action: "CREATE_MESSAGE", code: 500 }, 2)
      yield* alice.say("send")
      yield* bob.say("send")
      yield* running(
        all,
        Bot.match({ Text: (it) => it.reply(Outgoing.file(large, { name: "it.bin" })), orElse: () => Effect.void })
      )
      yield* all.reaches(has(alice, 1))
      yield* all.reaches(has(bob, 1))
      assert.strictEqual(yield* bot.attachments, 1)
      const [first, second] = [yield* payloads(alice), yield* payloads(bob)]
      assert.deepStrictEqual(first, second)
    })
  )

  both(
    "tells how far it has come, and is the same attachment when it is sent",
    Effect.gen(function* () {
      const all = yield* scene
      const { alice } = all
      yield* alice.addBot
      const progress = yield* within(
        all,
        Effect.gen(function* () {
          const attachments = yield* Files.Attachments
          const told = Array.from(yield* Stream.runCollect(attachments.upload(large)))
          const attachment = Option.getOrThrow(told.at(-1)!.attachment)
          const { send } = yield* Blaze.Blaze
          yield* send({ user: alice.userId }, Outgoing.file(attachment, { name: "it.bin" }))
          return told
        })
      )
      assert.isTrue(
        progress.every(({ done, total }, n) => total === large.length && done >= (progress[n - 1]?.done ?? 0))
      )
      assert.strictEqual(progress.at(-1)!.done, large.length)
      assert.isAbove(progress.length, 2)
      const [message] = yield* alice.received
      assert.isTrue(Buffer.from(large).equals(Option.getOrThrow(yield* alice.openFile(message!))))
    })
  )

  both(
    "and cannot be is not uploaded, and says why",
    Effect.gen(function* () {
      const all = yield* scene
      const { alice, bot } = all
      yield* alice.addBot
      const stream = { stream: Stream.make(new Uint8Array(10)), size: 11, key: "short" }
      const cases: ReadonlyArray<readonly [Outgoing.Outgoing, RegExp]> = [
        [Outgoing.image(new Uint8Array(100)), /the picture must be one whose width and height can be read/],
        [Outgoing.image("/no/such/file"), /^The reading of a file failed: the file system says NotFound/],
        [Outgoing.image(tmpdir()), /^The reading of a file failed: it is no file/],
        [Outgoing.audio(png, { duration: 0 }), /the duration must be a time such as "3 seconds"/],
        [Outgoing.video(png, { duration: 1, width: 0, height: 1 }), /the film must be one with a width and a height/],
        [Outgoing.file(stream), /^The reading of a file failed: it was said to have 11 bytes, and has fewer/],
        [Outgoing.file({ ...stream, size: 9 }), /and has more/],
        [
          Outgoing.file({ ...stream, stream: Stream.fail("gone") }),
          /^The reading of a file failed: the stream of its bytes has failed/
        ]
      ]
      const results = yield* within(
        all,
        Effect.flatMap(Blaze.Blaze, ({ send }) =>
          Effect.forEach(cases, ([content]) => Effect.result(send({ user: alice.userId }, content)))
        )
      )
      for (const [index, [, expected]] of cases.entries()) assert.match(reasonOf(results[index]!), expected)
      assert.deepStrictEqual(yield* alice.received, [])
      assert.isAtMost(yield* bot.attachments, 3)
    })
  )
})

describe("an answer with a file", () => {
  both(
    "is another one with another name or caption, and the same one in another run",
    Effect.gen(function* () {
      const all = yield* scene
      const { alice } = all
      const directory = mkdtempSync(join(tmpdir(), "media-"))
      for (const name of ["a.csv", "b.csv"]) writeFileSync(join(directory, name), "1,2")
      yield* alice.say("send")
      let runs = 0
      yield* running(
        all,
        Bot.match({
          Text: Effect.fnUntraced(function* (it) {
            for (const name of ["a.csv", "b.csv"]) yield* it.reply(Outgoing.file(join(directory, name)))
            for (const caption of ["one", "two"]) yield* it.reply(Outgoing.image(png, { caption }))
            const attachments = yield* Files.Attachments
            const last = yield* Stream.runLast(attachments.upload(large))
            const attachment = Option.getOrThrow(Option.flatMap(last, ({ attachment }) => attachment))
            yield* it.reply(Outgoing.file(attachment, { name: "it.bin" }))
            if (++runs === 1) return yield* Effect.fail("once")
          }),
          orElse: () => Effect.void
        })
      )
      yield* all.reaches(Effect.sync(() => runs === 2))
      yield* all.quiet
      assert.deepStrictEqual(
        (yield* payloads(alice)).map(({ caption, name }) => name ?? caption),
        ["a.csv", "b.csv", "one", "two", "it.bin"]
      )
    })
  )

  both(
    "to several people at once is read by each of them, encrypted as it is",
    Effect.gen(function* () {
      const all = yield* scene
      const { bot, server } = all
      yield* server.setEncryption(bot, true)
      const people = yield* Effect.forEach(["a", "b", "c", "d"], (name) => server.user(bot, name))
      for (const person of people) yield* person.say("send")
      yield* running(
        all,
        Bot.match({ Text: (it) => it.reply(Outgoing.file(large, { name: "x" })), orElse: () => Effect.void })
      )
      for (const person of people) {
        yield* all.reaches(has(person, 1))
        const [message] = yield* person.received
        assert.isTrue(Buffer.from(large).equals(Option.getOrThrow(yield* person.openFile(message!))))
      }
      assert.strictEqual(yield* bot.attachments, 1)
    })
  )

  both(
    "that was uploaded in plain is not sent where all is encrypted",
    Effect.gen(function* () {
      const all = yield* scene
      const { alice } = all
      yield* alice.addBot
      const sent = (encrypted: boolean) =>
        within(
          all,
          Effect.gen(function* () {
            const attachments = yield* Files.Attachments
            const last = yield* Stream.runLast(attachments.upload(png, { encrypted }))
            const { send } = yield* Blaze.Blaze
            const attachment = Option.getOrThrow(Option.flatMap(last, ({ attachment }) => attachment))
            return yield* Effect.result(send({ user: alice.userId }, Outgoing.file(attachment)))
          }),
          { encryption: "Always" }
        )
      assert.match(reasonOf(yield* sent(false)), /^Cannot encrypt this: its file was uploaded in plain/)
      assert.strictEqual(reasonOf(yield* sent(true)), "done")
      assert.strictEqual((yield* alice.received).length, 1)
    })
  )
})

describe("many files", () => {
  both(
    "of an announcement cost nobody else his, where one cannot be read, and are not uploaded where they are too many",
    Effect.gen(function* () {
      const all = yield* scene
      const { bot, server } = all
      const people = yield* Effect.forEach(["a", "b", "c"], (name) => server.user(bot, name))
      for (const person of people) yield* person.addBot
      const [outcomes, batch] = yield* within(
        all,
        Effect.all([
          Stream.fromIterable(people.map(({ userId }) => userId)).pipe(
            Broadcast.sendAll((user) => Outgoing.file(user === people[1]!.userId ? "/no/such" : png, { name: "x" }), {
              key: "k"
            }),
            Stream.runCollect
          ),
          Effect.flatMap(Sender.Sender, ({ derive, sendBatch }) =>
            Effect.flatMap(
              Effect.forEach(Array.from({ length: 101 }), (_, n) =>
                Effect.map(derive(String(n)), (id) => ({
                  to: { user: people[0]!.userId },
                  content: Outgoing.file(Uint8Array.of(n)),
                  id
                }))
              ),
              (messages) => Effect.result(sendBatch(messages))
            )
          )
        ])
      )
      assert.deepStrictEqual(
        outcomes.filter(({ _tag }) => _tag === "Refused").map(({ userId }) => userId),
        [people[1]!.userId]
      )
      assert.match(reasonOf(batch), /at most 100 messages/)
      assert.isAtMost(yield* bot.attachments, 2)
    })
  )
})

describe("a file that comes", () => {
  both(
    "is downloaded, and written to a path once all of it is there, though the way is cut twice",
    Effect.gen(function* () {
      const all = yield* scene
      const { alice, server } = all
      const directory = mkdtempSync(join(tmpdir(), "media-"))
      yield* server.inject({ _tag: "CutTransfer", after: 300_000 }, 2)
      yield* alice.sendFile("PLAIN_DATA", large, { name: "it.bin", mime_type: "application/zip" })
      yield* running(
        all,
        Bot.match({
          File: Effect.fnUntraced(function* (it) {
            const { message } = it
            assert.deepStrictEqual([message.name, message.attachment.size], [Option.some("it.bin"), large.length])
            yield* Effect.provide(message.saveTo(join(directory, "it.bin")), NodeFileSystem.layer)
            const bytes = yield* received(message.download)
            yield* it.reply(`${bytes.equals(large)}`)
          }),
          orElse: () => Effect.void
        })
      )
      yield* all.reaches(has(alice, 1))
      assert.deepStrictEqual(yield* alice.reads, ["true"])
      assert.deepStrictEqual(readdirSync(directory), ["it.bin"])
      assert.isTrue(readFileSync(join(directory, "it.bin")).equals(large))
    })
  )

  both(
    "is no longer than is allowed, and leaves nothing behind where it is",
    Effect.gen(function* () {
      const all = yield* scene
      const { alice } = all
      const directory = mkdtempSync(join(tmpdir(), "media-"))
      yield* alice.sendFile("PLAIN_DATA", large, { size: 10 })
      const [attachment] = (yield* all.bot.pendingViews).map((view) => {
        const message = Message.fromView(view)
        assert(Message.isFile(message))
        return message.attachment
      })
      const results = yield* within(
        all,
        Effect.all([
          Effect.result(received(Files.download(attachment!))),
          Effect.result(Effect.provide(Files.saveTo(attachment!, join(directory, "it")), NodeFileSystem.layer))
        ]),
        { maximumDownload: 100_000 }
      )
      for (const result of results as ReadonlyArray<Result.Result<unknown, BlazeError.BlazeError>>) {
        assert.strictEqual(reasonOf(result), "The download of a file failed: it has more than 100000 bytes.")
        assert(Result.isFailure(result) && result.failure.isFinal)
      }
      assert.deepStrictEqual(readdirSync(directory), [])
    })
  )

  // In memory: the tokens of a bot whose clock is another are refused.
  it.effect("is not there any more after a week, and says so for good", () =>
    Effect.gen(function* () {
      const all = yield* scene
      const { alice, server } = all
      yield* alice.sendFile("PLAIN_IMAGE", png, { width: 1, height: 1 })
      const message = Message.fromView((yield* all.bot.pendingViews)[0]!)
      assert(Message.isImage(message))
      yield* server.setClockOffset("8 days")
      const result = yield* within(all, Effect.result(received(message.download)))
      assert(Result.isFailure(result))
      assert.isTrue(result.failure.isFinal)
      assert.match(reasonOf(result), /404/)
    }).pipe(Effect.provide(memoryServer))
  )
})

describe("a file of an encrypted message", () => {
  both(
    "is encrypted where it is stored, and read by whom it is for, in both directions",
    Effect.gen(function* () {
      const all = yield* scene
      const { alice, bot, server } = all
      yield* server.setEncryption(bot, true)
      yield* alice.sendFile("PLAIN_IMAGE", png, { width: 1, height: 1 })
      yield* running(
        all,
        Bot.match({
          Image: Effect.fnUntraced(function* (it) {
            const { message } = it
            assert.isTrue(message.isEncrypted)
            assert.isTrue(Redacted.isRedacted(message.attachment.secret!.key))
            assert.notInclude(
              JSON.stringify(message.attachment),
              Buffer.from(Redacted.value(message.attachment.secret!.key)).toString("base64")
            )
            const bytes = yield* received(message.download)
            yield* it.reply(Outgoing.image(new Uint8Array(bytes)))
            yield* it.reply(Outgoing.file({ stream: Stream.make(large), size: large.length, key: "it" }))
          }),
          orElse: () => Effect.void
        })
      )
      yield* all.reaches(has(alice, 2))
      const shown = yield* alice.received
      assert.deepStrictEqual(
        shown.map(({ category }) => category),
        ["ENCRYPTED_IMAGE", "ENCRYPTED_DATA"]
      )
      assert.deepStrictEqual(Option.getOrThrow(yield* alice.openFile(shown[0]!)), png)
      assert.isTrue(Buffer.from(large).equals(Option.getOrThrow(yield* alice.openFile(shown[1]!))))
      for (const { key, digest, ...payload } of yield* payloads(alice)) {
        assert.lengthOf(Buffer.from(String(key), "base64"), 64)
        assert.lengthOf(Buffer.from(String(digest), "base64"), 32)
        // What is stored is read without its key.
        const stored = yield* alice.openFile({ text: JSON.stringify(payload) })
        assert.isFalse(Buffer.from(Option.getOrThrow(stored)).includes(Buffer.from(png.subarray(0, 16))))
      }
    })
  )

  both(
    "and was changed where it is stored is given to nobody, not a byte of it",
    Effect.gen(function* () {
      const all = yield* scene
      const { alice, bot, server } = all
      yield* server.setEncryption(bot, true)
      yield* alice.sendFile("PLAIN_DATA", large, { name: "it" })
      let given = 0
      yield* running(
        all,
        Bot.match({
          File: Effect.fnUntraced(function* ({ message }) {
            const { attachmentId, secret } = message.attachment
            const { digest, key } = secret!
            const other = (change: Partial<NonNullable<typeof secret>>) =>
              Effect.result(
                Stream.runForEach(
                  Files.download({ ...message.attachment, secret: { digest, key, ...change } }),
                  (piece) => Effect.sync(() => (given += piece.length))
                )
              )
            const halves = Redacted.value(key)
            const changed = (index: number) => Redacted.make(halves.map((byte, at) => (at === index ? byte ^ 1 : byte)))
            const results = yield* Effect.all([
              other({ digest: digest.map((byte) => byte ^ 1) }),
              other({ key: changed(63) }),
              other({ key: Redacted.make(halves.subarray(0, 32)) })
            ])
            assert.deepStrictEqual(results.map(reasonOf), [
              "The download of a file failed: its digest is another.",
              "The download of a file failed: it was changed on its way.",
              "The download of a file failed: its key is none."
            ])
            assert.isNotEmpty(attachmentId)
            done = true
          }),
          orElse: () => Effect.void
        })
      )
      let done = false
      yield* all.reaches(Effect.sync(() => done))
      assert.strictEqual(given, 0)
    })
  )

  both(
    "is no larger than fits the memory that it may have",
    Effect.gen(function* () {
      const all = yield* scene
      const { alice } = all
      yield* alice.addBot
      const result = yield* within(
        all,
        Effect.flatMap(Blaze.Blaze, ({ send }) =>
          Effect.result(send({ user: alice.userId }, Outgoing.file(large, { name: "it" })))
        ),
        { encryption: "Always", maximumEncryptedFile: 100_000 }
      )
      assert.strictEqual(reasonOf(result), "The upload of a file failed: it has more than 100000 bytes.")
    })
  )
})
