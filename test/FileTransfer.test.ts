import { NodeFileSystem } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Option, Result, Stream } from "effect"
import { Attachments, BlazeError, MixinApi, Settings, Signer, type Endpoint, type Ids } from "effect-blaze"
import { SynchronousCryptography } from "effect-blaze/node"
import { HttpClient, HttpClientError, HttpClientResponse, type HttpClientRequest } from "effect/http"
import { TestClock } from "effect/testing"
import { mkdtempSync, readdirSync, readFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as FileTransfer from "../src/internal/FileTransfer.ts"
import * as PublicAddress from "../src/internal/PublicAddress.ts"

type Answer = (request: HttpClientRequest.HttpClientRequest) => Effect.Effect<Response, HttpClientError.HttpClientError>

const layerHttp = (seen: Array<HttpClientRequest.HttpClientRequest>, answer: Answer) =>
  Layer.succeed(
    HttpClient.HttpClient,
    HttpClient.make((request) => {
      seen.push(request)
      return Effect.map(answer(request), (response) => HttpClientResponse.fromWeb(request, response))
    })
  )

const apiOrigin = "http://127.0.0.1:8080"
const transfer = (answer: Answer, seen: Array<HttpClientRequest.HttpClientRequest> = []) =>
  FileTransfer.make(new Set([apiOrigin]), "test/1").pipe(Effect.provide(layerHttp(seen, answer)))

const ok = (body: ConstructorParameters<typeof Response>[0], headers: Record<string, string> = {}, status = 200) =>
  Effect.succeed(new Response(body, { status, headers }))

const redirect = (location: string) => ok(null, { location }, 302)

const messageOf = (result: Result.Result<unknown, BlazeError.BlazeError>) =>
  Result.isFailure(result) ? result.failure.message : "done"

const bytes = Uint8Array.of(1, 2, 3)

const collected = (part: FileTransfer.Part) =>
  Effect.map(Stream.runCollect(part.bytes), (pieces) => Array.from(Buffer.concat(pieces)))

describe("an address for files", () => {
  const isAllowed = (address: string) => PublicAddress.parse(address, undefined, new Set([apiOrigin])) !== undefined

  it("is encrypted and public, in whatever way it is written", () => {
    for (const address of [
      "https://mixin-assets.zeromesh.net/a?sig=1",
      "https://s3.amazonaws.com/x",
      "https://8.8.8.8/x",
      "https://[2606:4700::1111]/x"
    ]) {
      assert.isTrue(isAllowed(address), address)
    }
    for (const address of [
      "",
      "file:///etc/passwd",
      "http://s3.amazonaws.com/x",
      "ftp://example.com/x",
      "data:text/plain,x",
      "https://user:password@example.com/x",
      "https://localhost/x",
      "https://a.localhost/x",
      "https://printer.local/x",
      "https://db.internal/x",
      "https://intranet/x",
      "https://127.0.0.1/x",
      "https://0x7f.1/x",
      "https://2130706433/x",
      "https://10.1.2.3/x",
      "https://172.16.0.1/x",
      "https://192.168.1.1/x",
      "https://169.254.169.254/latest/meta-data",
      "https://100.64.0.1/x",
      "https://0.0.0.0/x",
      "https://[::1]/x",
      "https://[::ffff:10.0.0.1]/x",
      "https://[fd00::1]/x",
      "https://[fe80::1]/x",
      "https://127.0.0.1:8081/x",
      "https://127.0.0.1:8080/x"
    ]) {
      assert.isFalse(isAllowed(address), address)
    }
  })

  it("may be on the host of the API, wherever that is", () => {
    assert.isTrue(isAllowed(`${apiOrigin}/attachments/1`))
  })
})

describe("a transfer of a file", () => {
  it.effect("takes no token along, and no trace headers", () =>
    Effect.gen(function* () {
      const seen: Array<HttpClientRequest.HttpClientRequest> = []
      const files = yield* transfer(() => ok("abc"), seen)
      yield* files.put("https://s3.amazonaws.com/slot", Stream.make(bytes), 3)
      yield* Effect.scoped(Effect.flatMap(files.get("https://s3.amazonaws.com/slot", 7), collected))
      assert.deepStrictEqual(
        seen.map(({ headers, method }) => [method, Object.keys(headers).toSorted()]),
        [
          ["PUT", ["content-length", "content-type", "user-agent", "x-amz-acl"]],
          ["GET", ["range", "user-agent"]]
        ]
      )
      assert.deepInclude(seen[0]!.headers, { "content-length": "3", "x-amz-acl": "public-read" })
      assert.strictEqual(seen[1]!.headers["range"], "bytes=7-")
    }).pipe(Effect.withSpan("outer"))
  )

  it.effect("follows a redirect to a public address, and none into a private network or to another scheme", () =>
    Effect.gen(function* () {
      const forbidden = [
        "http://example.com/x",
        "https://169.254.169.254/x",
        "file:///etc/passwd",
        "https://localhost/end"
      ]
      const places: Readonly<Record<string, string>> = { start: "/end", around: "/around" }
      const files = yield* transfer(({ url }) => {
        const place = url.split("/").at(-1)!
        const to = places[place] ?? forbidden[Number(place)]
        return to === undefined ? ok("abc") : redirect(to)
      })
      const get = (place: string | number) =>
        Effect.result(Effect.scoped(Effect.flatMap(files.get(`https://example.com/${place}`, 0), collected)))
      assert.deepStrictEqual(yield* get("start"), Result.succeed([97, 98, 99]))
      for (const index of forbidden.keys()) {
        const result = yield* get(index)
        assert.match(messageOf(result), /not encrypted, or within a private network/)
        assert.notInclude(messageOf(result), "169.254")
        assert(Result.isFailure(result) && result.failure.isFinal)
      }
      assert.match(messageOf(yield* get("around")), /example\.com answered with HTTP status 302/)
    })
  )

  it.effect("tells of the address no more than its host", () =>
    Effect.gen(function* () {
      const secret = "https://s3.amazonaws.com/slot?X-Amz-Signature=secret"
      for (const status of [403, 500]) {
        const files = yield* transfer(() => ok("no", {}, status))
        const results: ReadonlyArray<Result.Result<unknown, BlazeError.BlazeError>> = [
          yield* Effect.result(files.put(secret, Stream.make(bytes), 3)),
          yield* Effect.result(Effect.scoped(files.get(secret, 0)))
        ]
        // The slot may have run out, and another one will do; a file that is gone is gone.
        const isRetryable = results.map((result) => Result.isFailure(result) && result.failure.isRetryable)
        assert.deepStrictEqual(isRetryable, [true, status === 500])
        for (const result of results) {
          assert.match(messageOf(result), new RegExp(`s3\\.amazonaws\\.com answered with HTTP status ${status}`))
          assert.notInclude(JSON.stringify(result), "secret")
          assert(Result.isFailure(result))
        }
      }
      const unreachable = yield* transfer((request) =>
        Effect.fail(
          new HttpClientError.HttpClientError({
            reason: new HttpClientError.TransportError({
              request,
              cause: Object.assign(new Error(), { code: "ECONNRESET" })
            })
          })
        )
      )
      const result = yield* Effect.result(Effect.scoped(unreachable.get(secret, 0)))
      assert.strictEqual(
        messageOf(result),
        "Cannot reach s3.amazonaws.com (ECONNRESET): check the network, the proxy and the address."
      )
      assert.notInclude(JSON.stringify(result), "secret")
    })
  )

  it.effect("that stands still ends, whether nothing comes or nothing goes", () =>
    Effect.gen(function* () {
      const files = yield* transfer(({ method, url }) =>
        url.includes("silent") || method === "PUT"
          ? Effect.never
          : ok(new ReadableStream({ start: (controller) => controller.enqueue(bytes) }))
      )
      const attempts = yield* Effect.forEach(
        [
          Effect.scoped(files.get("https://example.com/silent", 0)),
          Effect.scoped(Effect.flatMap(files.get("https://example.com/stuck", 0), collected)),
          files.put("https://example.com/x", Stream.never, 10)
        ],
        (attempt) => Effect.forkChild(Effect.result(Effect.asVoid(attempt)))
      )
      yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
      yield* TestClock.adjust("29 seconds")
      for (const attempt of attempts) assert.isUndefined(attempt.pollUnsafe())
      yield* TestClock.adjust("32 seconds")
      for (const attempt of attempts) {
        assert.match(
          messageOf(yield* Fiber.join(attempt)),
          /^Timed out: the (upload|download) of a file with example\.com/
        )
      }
    })
  )
})

/** What travels does so beside the clock of the test. */
const finished = (fiber: Fiber.Fiber<unknown, unknown>) =>
  Effect.promise(() => new Promise((resolve) => setImmediate(resolve))).pipe(
    Effect.andThen(TestClock.adjust("1 second")),
    Effect.repeat({ until: () => fiber.pollUnsafe() !== undefined })
  )

describe("a download that broke off", () => {
  const attachments = (answer: Answer, seen: Array<HttpClientRequest.HttpClientRequest>) =>
    Attachments.layer.pipe(
      Layer.provide(
        Layer.effect(
          MixinApi.MixinApi,
          Effect.map(transfer(answer, seen), (files) => ({
            request: ((_endpoint: Endpoint.Endpoint) =>
              Effect.succeed({ attachment_id: "a", view_url: "https://example.com/a" })) as never,
            serverTime: Effect.succeedNone,
            client: undefined as never,
            host: undefined as never,
            files
          }))
        )
      ),
      Layer.provide([
        SynchronousCryptography.layer,
        Layer.succeed(Signer.Signer, { userId: "x" as Ids.UserId, token: () => Effect.die("no token") })
      ])
    )

  for (const givesParts of [true, false]) {
    it.effect(`goes on where it was, with a host that gives ${givesParts ? "parts" : "the whole again"}`, () => {
      const seen: Array<HttpClientRequest.HttpClientRequest> = []
      const whole = Uint8Array.from({ length: 100 }, (_, n) => n)
      const answer: Answer = ({ headers }) => {
        const from = givesParts ? Number(/bytes=(\d+)-/.exec(headers["range"] ?? "bytes=0-")![1]) : 0
        const end = Math.min(100, from + (seen.length < 3 ? 30 + 20 * seen.length : 100))
        const head: Record<string, string> =
          from > 0 ? { "content-range": `bytes ${from}-99/100` } : { "content-length": "100" }
        return ok(whole.slice(from, end), head, from > 0 ? 206 : 200)
      }
      return Effect.gen(function* () {
        const reading = yield* Effect.forkChild(
          Stream.runCollect(Attachments.download({ attachmentId: "a", size: undefined }))
        )
        yield* finished(reading)
        assert.deepStrictEqual(Array.from(Buffer.concat(yield* Fiber.join(reading))), Array.from(whole))
        assert.isAtLeast(seen.length, 2)
        assert.strictEqual(seen[1]!.headers["range"], "bytes=50-")
      }).pipe(Effect.provide(attachments(answer, seen)))
    })
  }

  const download = Effect.map(
    Stream.runCollect(Attachments.download({ attachmentId: "a", size: undefined })),
    (pieces) => Buffer.concat(pieces).length
  )
  const hundred = new Uint8Array(100)
  const failing = (length: number) =>
    new ReadableStream({
      start: (controller) => controller.enqueue(hundred.slice(0, length)),
      pull: (controller) => controller.error(new Error("gone"))
    })
  const whole = { "content-length": "100" }
  const hosts: ReadonlyArray<readonly [string, ReadonlyArray<ReturnType<Answer>>, number | RegExp]> = [
    ["all of it came before it broke off", [ok(failing(100), whole)], 100],
    ["nothing is behind what came", [ok(failing(100)), ok(null, { "content-range": "bytes */100" }, 416)], 100],
    ["the length that was told is none", [ok(hundred, { "content-length": "100, 100" })], 100],
    [
      "another part comes than was asked for",
      [ok(failing(50), whole), ok(hundred, { "content-range": "bytes 0-99/100" }, 206), ok(hundred, whole)],
      100
    ],
    [
      "a part comes that was not asked for",
      [ok(hundred, { "content-range": "bytes 50-149/150" }, 206), ok(hundred, whole)],
      100
    ],
    [
      "the rest is of another file",
      [ok(failing(50), whole), ok(hundred.slice(0, 30), { "content-length": "30" })],
      /it is another than it was/
    ]
  ]
  for (const [name, answers, expected] of hosts) {
    it.effect(`where ${name}`, () => {
      const seen: Array<HttpClientRequest.HttpClientRequest> = []
      return Effect.gen(function* () {
        const reading = yield* Effect.forkChild(Effect.result(download))
        yield* finished(reading)
        const result = yield* Fiber.join(reading)
        if (typeof expected === "number") assert.deepStrictEqual(result, Result.succeed(expected))
        else assert.match(messageOf(result), expected)
      }).pipe(Effect.provide(attachments(() => answers[seen.length - 1]!, seen)))
    })
  }

  it.effect("goes on for as long as something comes, however often it breaks off", () => {
    const seen: Array<HttpClientRequest.HttpClientRequest> = []
    const crumbs: Answer = ({ headers }) => {
      const from = Number(/bytes=(\d+)-/.exec(headers["range"] ?? "bytes=0-")![1])
      const range: Record<string, string> = from > 0 ? { "content-range": `bytes ${from}-99/100` } : whole
      return ok(hundred.slice(from, from + 5), range, from > 0 ? 206 : 200)
    }
    return Effect.gen(function* () {
      const reading = yield* Effect.forkChild(download)
      yield* finished(reading)
      assert.deepStrictEqual([yield* Fiber.join(reading), seen.length], [100, 20])
    }).pipe(Effect.provide(attachments(crumbs, seen)))
  })

  it.effect("ends when it breaks off again and again, and when the file is larger than is allowed", () =>
    Effect.gen(function* () {
      const seen: Array<HttpClientRequest.HttpClientRequest> = []
      const cut = attachments(() => ok("abc", { "content-length": "100" }), seen)
      const download = Effect.result(Stream.runDrain(Attachments.download({ attachmentId: "a", size: undefined })))
      const broken = yield* Effect.forkChild(Effect.provide(download, cut))
      yield* finished(broken)
      assert.match(messageOf(yield* Fiber.join(broken)), /it broke off after 3 of 100 bytes/)
      assert.strictEqual(seen.length, 11)
      const large = attachments(() => ok("abc", { "content-length": "100" }), [])
      const refused = yield* Effect.provide(download, Layer.provide(large, Settings.layer({ maximumDownload: 99 })))
      assert.match(messageOf(refused), /it has more than 99 bytes/)
      assert.isTrue(Option.isNone(Result.getSuccess(refused)))
    })
  )
})

describe("an upload", () => {
  const withSlots = (answer: Answer, seen: Array<HttpClientRequest.HttpClientRequest>, slots: Array<string>) =>
    Attachments.layer.pipe(
      Layer.provide(
        Layer.effect(
          MixinApi.MixinApi,
          Effect.map(transfer(answer, seen), (files) => ({
            request: ((_endpoint: Endpoint.Endpoint) =>
              Effect.sync(() => {
                const id = `slot ${slots.length}`
                slots.push(id)
                return { attachment_id: id, upload_url: `https://example.com/${slots.length - 1}` }
              })) as never,
            serverTime: Effect.succeedNone,
            client: undefined as never,
            host: undefined as never,
            files
          }))
        )
      ),
      Layer.provide(SynchronousCryptography.layer)
    )
  const stored: Array<Uint8Array> = []
  /** Takes a file as a host does: piece by piece. */
  const taking: Answer = (request) => {
    const { body } = request
    if (body._tag !== "Stream") return ok(null)
    const taken = Stream.runForEach(body.stream, (piece) =>
      Effect.andThen(
        Effect.sleep("1 second"),
        Effect.sync(() => stored.push(piece.slice()))
      )
    )
    return Effect.flatMap(
      Effect.mapError(
        taken,
        (cause) =>
          new HttpClientError.HttpClientError({ reason: new HttpClientError.TransportError({ request, cause }) })
      ),
      () => ok(null)
    )
  }
  const upload = (source: Attachments.Source, options?: Attachments.UploadOptions) =>
    Effect.flatMap(Attachments.Attachments, (attachments) =>
      Effect.map(Stream.runLast(attachments.upload(source, options)), (last) =>
        Option.getOrThrow(Option.flatMap(last, ({ attachment }) => attachment))
      )
    )

  for (const encrypted of [false, true]) {
    it.effect(
      `of the same bytes by several at once is one, ${encrypted ? "encrypted with one key" : "in plain"}`,
      () => {
        const seen: Array<HttpClientRequest.HttpClientRequest> = []
        const slots: Array<string> = []
        return Effect.gen(function* () {
          const uploading = yield* Effect.forkChild(
            Effect.all([upload(bytes, { encrypted }), upload(bytes.slice(), { encrypted })], { concurrency: 2 })
          )
          yield* finished(uploading)
          const [first, second] = yield* Fiber.join(uploading)
          assert.deepStrictEqual([seen.length, slots.length], [1, 1])
          assert.strictEqual(first.attachmentId, second.attachmentId)
          assert.strictEqual(first.secret, second.secret)
          assert.strictEqual(first.secret !== undefined, encrypted)
        }).pipe(Effect.provide(withSlots(taking, seen, slots)))
      }
    )
  }

  it.effect("in plain is none of an encrypted one, whatever they are called", () => {
    const slots: Array<string> = []
    return Effect.gen(function* () {
      const uploading = yield* Effect.forkChild(
        Effect.all([upload(bytes, { identity: "x encrypted" }), upload(bytes, { identity: "x", encrypted: true })])
      )
      yield* finished(uploading)
      const [plain, encrypted] = yield* Fiber.join(uploading)
      assert.notStrictEqual(plain.attachmentId, encrypted.attachmentId)
    }).pipe(Effect.provide(withSlots(taking, [], slots)))
  })

  it.effect("of bytes that are changed meanwhile fails, and is remembered for no others", () => {
    const slots: Array<string> = []
    return Effect.gen(function* () {
      stored.length = 0
      const size = 600_000
      const buffer = new Uint8Array(size).fill(1)
      const changing = yield* Effect.forkChild(Effect.result(upload(buffer)))
      yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
      yield* TestClock.adjust("1 second")
      buffer.fill(2)
      yield* finished(changing)
      assert.match(messageOf(yield* Fiber.join(changing)), /it was changed while it was read/)
      stored.length = 0
      const again = yield* Effect.forkChild(upload(new Uint8Array(size).fill(1)))
      yield* finished(again)
      yield* Fiber.join(again)
      assert.isTrue(Buffer.concat(stored).equals(Buffer.alloc(size, 1)))
    }).pipe(Effect.provide(withSlots(taking, [], slots)))
  })

  it.effect("into a slot that has run out goes into another one", () => {
    const slots: Array<string> = []
    return Effect.gen(function* () {
      const uploading = yield* Effect.forkChild(upload(bytes))
      yield* finished(uploading)
      assert.strictEqual((yield* Fiber.join(uploading)).attachmentId, "slot 1")
    }).pipe(Effect.provide(withSlots(({ url }) => (url.endsWith("/0") ? ok(null, {}, 403) : ok(null)), [], slots)))
  })

  it.effect("of a stream whose size is none is refused", () =>
    Effect.gen(function* () {
      for (const size of [-1, Number.NaN, 0.5, Infinity]) {
        for (const encrypted of [true, false]) {
          const result = yield* Effect.result(upload({ stream: Stream.make(bytes), size, key: "x" }, { encrypted }))
          assert.match(messageOf(result), /the size of its stream is no number of bytes/)
        }
      }
    }).pipe(Effect.provide(withSlots(taking, [], [])))
  )
})

describe("a file that is saved", () => {
  it.live("twice at once is whole both times, whatever its attachment is called", () => {
    const directory = mkdtempSync(join(tmpdir(), "saved-"))
    const content = new Uint8Array(4000).fill(9)
    const slow: Answer = () =>
      ok(
        new ReadableStream({
          async start(controller) {
            for (let at = 0; at < 4000; at += 1000) {
              await new Promise((resolve) => setImmediate(resolve))
              controller.enqueue(content.slice(at, at + 1000))
            }
            controller.close()
          }
        })
      )
    return Effect.gen(function* () {
      const path = join(directory, "it")
      const save = Effect.flatMap(Effect.succeed({ attachmentId: "/../victim/x", size: undefined }), (attachment) =>
        Attachments.saveTo(attachment, path)
      )
      yield* Effect.all([save, save], { concurrency: 2 })
      assert.isTrue(readFileSync(path).equals(content))
      assert.deepStrictEqual(readdirSync(directory), ["it"])
    }).pipe(Effect.provide(NodeFileSystem.layer), Effect.provide(saving(slow)))
  })
})

const saving = (answer: Answer) =>
  Attachments.layer.pipe(
    Layer.provide(
      Layer.effect(
        MixinApi.MixinApi,
        Effect.map(transfer(answer), (files) => ({
          request: (() => Effect.succeed({ attachment_id: "a", view_url: "https://example.com/a" })) as never,
          serverTime: Effect.succeedNone,
          client: undefined as never,
          host: undefined as never,
          files
        }))
      )
    ),
    Layer.provide(SynchronousCryptography.layer)
  )
