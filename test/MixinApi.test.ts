import { NodeCrypto, NodeHttpClient } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Fiber, Layer, Logger, Result, SubscriptionRef } from "effect"
import { BlazeError, Endpoint, MixinApi, Settings, Signer } from "effect-blaze"
import { FetchHttpClient, HttpClient, HttpClientError, HttpClientResponse, type HttpClientRequest } from "effect/http"
import { BlazeTest } from "effect-blaze/testing"
import { TestClock } from "effect/testing"
import { readFileSync } from "node:fs"
import { createServer, type RequestListener } from "node:http"
import type { AddressInfo } from "node:net"
import { found, setWall } from "./support.ts"

const userId = "82d20bc7-9a97-4a69-bcd0-4da502374f6c"

const keystore = JSON.stringify({
  app_id: userId,
  session_id: "c87ff6c9-c33a-4bc3-98d7-3d449f4adfe8",
  session_private_key: "be53769cb1306c6bed402d2d3e71a1d128852f5051a2180e032efc1faa79b7b2"
})

/** A server on loopback; gives its address. */
const httpServer = (listener: RequestListener) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.callback<ReturnType<typeof createServer>>((resume) => {
        const server = createServer(listener)
        server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
      }),
      (server) =>
        Effect.callback<void>((resume) => {
          server.close(() => resume(Effect.void))
          server.closeAllConnections()
        })
    ),
    (server) => `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  )

type Answer = (request: HttpClientRequest.HttpClientRequest) => Effect.Effect<Response, HttpClientError.HttpClientError>

const withAnswer = (answer: Answer) =>
  MixinApi.layer.pipe(
    Layer.provide([
      Signer.layerString(keystore),
      Layer.succeed(
        HttpClient.HttpClient,
        HttpClient.make((request) =>
          Effect.map(answer(request), (response) => HttpClientResponse.fromWeb(request, response))
        )
      )
    ]),
    Layer.provide(NodeCrypto.layer)
  )

const acknowledge = Effect.flatMap(MixinApi.MixinApi, (api) =>
  api.request(Endpoint.acknowledge, {
    payload: [{ message_id: "928c5c40-769c-3e97-8387-fb1ae0645311", status: "READ" }]
  })
)

const decode = (part: string | undefined) => JSON.parse(Buffer.from(part ?? "", "base64url").toString())

describe("MixinApi", () => {
  it.effect("signs exactly what it sends, with the request's id, and sends no trace headers", () => {
    const requests: Array<HttpClientRequest.HttpClientRequest> = []
    const api = withAnswer((request) => {
      requests.push(request)
      return Effect.succeed(Response.json({}))
    })
    return Effect.gen(function* () {
      yield* acknowledge.pipe(Effect.withSpan("a parent"))
      const [request] = requests
      assert.strictEqual(request!.url, "https://api.mixin.one/acknowledgements")
      assert(request!.body._tag === "Uint8Array")
      const body = new TextDecoder().decode(request!.body.body)
      assert.strictEqual(body, '[{"message_id":"928c5c40-769c-3e97-8387-fb1ae0645311","status":"READ"}]')
      const claims = decode(request!.headers["authorization"]!.split(".")[1])
      assert.strictEqual(claims.sig, yield* Signer.requestSignature({ method: "POST", uri: "/acknowledgements", body }))
      assert.strictEqual(claims.jti, request!.headers["x-request-id"])
      assert.strictEqual(request!.headers["accept"], "application/json")
      assert.strictEqual(request!.headers["user-agent"], MixinApi.userAgent)
      assert.deepStrictEqual(
        Object.keys(request!.headers).filter((name) => /trace|b3/.test(name)),
        []
      )
    }).pipe(Effect.provide([api, NodeCrypto.layerDigest]))
  })

  const cases: ReadonlyArray<readonly [name: string, answer: () => Response, expected: string]> = [
    ["{}", () => Response.json({}), "ok"],
    ["an empty body", () => new Response(""), "ok"],
    ["202 with data", () => Response.json({ data: [] }, { status: 202 }), "ok"],
    ["202 with an error", () => Response.json({ error: { status: 202, code: 10002 } }, { status: 202 }), "10002"],
    ["200 with an error", () => Response.json({ error: { code: 403, description: "no" } }), "403 no"],
    ["an error that is misspelt", () => Response.json({ error: { code: 429, desciption: "slow" } }), "429 slow"],
    ["a 202 with 401 inside", () => Response.json({ error: { code: 401 } }, { status: 202 }), "Unauthorized"],
    ["a 202 with 20121 inside", () => Response.json({ error: { code: 20121 } }, { status: 202 }), "Unauthorized"],
    ["a 202 with 10006 inside", () => Response.json({ error: { code: 10006 } }, { status: 202 }), "ClientTooOld"],
    ["a 401 in Mixin's words", () => Response.json({ error: { code: 401 } }, { status: 401 }), "Unauthorized"],
    ["a 403 in Mixin's words", () => Response.json({ error: { code: 403 } }, { status: 403 }), "403"],
    ["a long list of friends", () => new Response(`{"data":"${"x".repeat(7_000_000)}"}`), "ok"],
    ["more than sixteen megabytes", () => new Response(`"${"x".repeat(17_000_000)}"`), "BadInput"],
    ["a code that means nothing with a status of 503", () => Response.json({ error: { code: 0, status: 503 } }), "0"],
    ["a 401 with a status of 500", () => Response.json({ error: { code: 401, status: 500 } }), "401"]
  ]
  for (const [name, answer, expected] of cases) {
    it.effect(`reads ${name} as ${expected}`, () =>
      Effect.gen(function* () {
        const found = yield* acknowledge.pipe(
          Effect.as("ok"),
          Effect.catch(({ reason }) =>
            Effect.succeed(
              reason._tag === "ApiFailure"
                ? [reason.code, reason.description].filter((part) => part !== undefined).join(" ")
                : reason._tag
            )
          )
        )
        assert.strictEqual(found, expected)
      }).pipe(Effect.provide(withAnswer(() => Effect.sync(answer))))
    )
  }

  const page = "<html><title>Attention Required!</title></html>"
  const intermediaries: ReadonlyArray<readonly [status: number, body: string]> = [
    [200, page],
    ...[301, 302, 307, 400, 401, 403, 404, 405, 407, 413, 429, 451, 500, 502, 503, 504].flatMap(
      (status) =>
        [
          [status, page],
          [status, ""]
        ] as const
    ),
    [401, '{"message":"No API key found in request"}'],
    [403, '{"error":"access_denied"}'],
    [200, '{"error":{"type":"quota"}}']
  ]
  for (const [status, body] of intermediaries) {
    it.effect(
      `a ${status} with ${body === "" ? "no body" : body.slice(0, 26)} passes, and is told with its status and host`,
      () =>
        Effect.gen(function* () {
          const error = yield* Effect.flip(acknowledge)
          assert(error.reason._tag === "Intermediary")
          assert.isTrue(error.isRetryable)
          assert.isFalse(error.isFatal)
          assert.include(error.message, `api.mixin.one answered with HTTP status ${status}`)
        }).pipe(
          Effect.provide(
            withAnswer((request) =>
              // GET /me is asked after a 401, and takes the bot.
              Effect.sync(() =>
                request.method === "GET" ? Response.json({ data: { user_id: userId } }) : new Response(body, { status })
              )
            )
          )
        )
    )
  }

  for (const [me, expected] of [
    [() => Response.json({ data: { user_id: userId } }), "Intermediary"],
    [() => Response.json({ error: { code: 401 } }, { status: 202 }), "Unauthorized"],
    [() => Response.json({ error: { code: 401 } }, { headers: { "x-request-id": "a gateway's" } }), "Unauthorized"],
    [() => Response.json({ error: { code: 10006 } }), "ClientTooOld"],
    [() => new Response("", { status: 401 }), "Intermediary"],
    [() => new Response(page, { status: 503 }), "Intermediary"]
  ] as const) {
    it.effect(
      `a 401 that Mixin did not write is ${expected} when GET /me is answered with ${me.toString().slice(6)}`,
      () =>
        Effect.gen(function* () {
          const error = yield* Effect.flip(acknowledge)
          assert.strictEqual(error.reason._tag, expected)
        }).pipe(
          Effect.provide(
            withAnswer((request) =>
              Effect.sync(() => (request.method === "GET" ? me() : new Response(page, { status: 401 })))
            )
          )
        )
    )
  }

  for (const [value, pause] of [
    ["7", 7000],
    [" 7 ", 7000],
    ["100000", 300_000],
    ["Thu, 01 Jan 1970 00:01:00 GMT", 60_000],
    ["Thu, 01 Jan 1970 10:00:00 GMT", 300_000],
    ["0", 0],
    ["-5", 0],
    ["1.5", 0],
    ["soon", 0],
    ["Wed, 31 Dec 1969 23:00:00 GMT", 0]
  ] as const) {
    it.effect(`a Retry-After of "${value}" asks for ${pause} ms`, () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(acknowledge)
        assert.strictEqual(Duration.toMillis(error.retryAfter), pause)
      }).pipe(
        Effect.provide(
          withAnswer(() => Effect.succeed(new Response(page, { status: 503, headers: { "retry-after": value } })))
        )
      )
    )
  }

  it.effect("a Retry-After beside an error of the API is heeded, and a date is meant by the clock that wrote it", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(acknowledge)
      assert.strictEqual(error.reason._tag, "ApiFailure")
      assert.strictEqual(Duration.toMillis(error.retryAfter), 30_000)
    }).pipe(
      Effect.provide(
        withAnswer(() =>
          Effect.succeed(
            Response.json(
              { error: { code: 429, status: 202 } },
              {
                headers: {
                  date: "Thu, 01 Jan 2026 00:00:00 GMT",
                  "retry-after": "Thu, 01 Jan 2026 00:00:30 GMT"
                }
              }
            )
          )
        )
      )
    )
  )

  it.effect("an acknowledgement that is answered with a foreign request id is done, which is told once", () => {
    const logs: Array<string> = []
    return Effect.gen(function* () {
      const api = yield* MixinApi.MixinApi
      yield* api.request(Endpoint.acknowledge, { payload: [] })
      yield* api.request(Endpoint.acknowledge, { payload: [] })
      assert.strictEqual(logs.length, 1)
      assert.match(logs[0]!, /api\.mixin\.one have an X-Request-Id that is not the request's/)
      // What is read has to be the answer.
      const error = yield* Effect.flip(api.request(Endpoint.me, {}))
      assert.include(error.message, "the answer to another request")
    }).pipe(
      Effect.provide([
        withAnswer(() =>
          Effect.sync(() => Response.json({ data: { user_id: userId } }, { headers: { "x-request-id": "other" } }))
        ),
        Logger.layer([Logger.make(({ message }) => void logs.push(String(message)))])
      ])
    )
  })

  it("says which version it is, the package's", () => {
    const { name, version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8"))
    assert.strictEqual(MixinApi.userAgent, `${name}/${version}`)
  })

  it.live("no redirect is followed, whatever the transport, and nobody reaches its target", () =>
    Effect.gen(function* () {
      const reached: Array<string> = []
      const target = yield* httpServer((request, response) => {
        reached.push(`${request.headers.authorization}`)
        response.end("{}")
      })
      const source = yield* httpServer((_, response) => response.writeHead(307, { location: target }).end())
      for (const transport of [FetchHttpClient.layer, NodeHttpClient.layerNodeHttp, NodeHttpClient.layerUndici]) {
        const error = yield* Effect.flip(acknowledge).pipe(
          Effect.provide(
            MixinApi.layer.pipe(
              Layer.provide([Signer.layerString(keystore), transport, Settings.layer({ apiUrl: source })]),
              Layer.provide(NodeCrypto.layer)
            )
          )
        )
        assert(error.reason._tag === "Intermediary")
        assert.strictEqual(error.reason.status, 307)
      }
      assert.deepStrictEqual(reached, [])
    }).pipe(Effect.scoped)
  )

  describe("a token that has grown old on its way", () => {
    /** A REST API that answers as it is told, one status after the other, while a wall clock can be set. */
    const scene = (answers: ReadonlyArray<number | "sleep then 401">) => {
      const wall = setWall()
      const tokens: Array<string> = []
      const rest = [...answers]
      const layer = withAnswer((request) =>
        Effect.sync(() => {
          tokens.push(request.headers["authorization"]!)
          const next = rest.shift() ?? 200
          if (next === "sleep then 401") wall.set(61_000)
          return next === 200
            ? Response.json({})
            : Response.json({ error: { code: next === "sleep then 401" ? 401 : next } }, { status: 202 })
        })
      )
      return { tokens, layer, wall }
    }

    const outcome = (answers: ReadonlyArray<number | "sleep then 401">) => {
      const { layer, tokens, wall } = scene(answers)
      return Effect.gen(function* () {
        const result = yield* Effect.result(acknowledge)
        return { tokens, outcome: Result.isSuccess(result) ? "ok" : result.failure }
      }).pipe(Effect.provide(layer), wall.provide)
    }

    it.effect("is refused in vain: a fresh one is tried", () =>
      Effect.gen(function* () {
        const { outcome: found, tokens } = yield* outcome(["sleep then 401", 200])
        assert.strictEqual(found, "ok")
        assert.strictEqual(tokens.length, 2)
        assert.notStrictEqual(tokens[0], tokens[1])
      })
    )

    it.effect("is tried once more only, and what comes then is final", () =>
      Effect.gen(function* () {
        for (const second of ["sleep then 401", 401] as const) {
          const { outcome: found, tokens } = yield* outcome(["sleep then 401", second])
          assert(BlazeError.isBlazeError(found) && found.reason._tag === "Unauthorized")
          assert.isTrue(found.isFatal)
          assert.strictEqual(tokens.length, 2)
        }
      })
    )

    it.effect("is none when it was young: that is final at once", () =>
      Effect.gen(function* () {
        const { outcome: found, tokens } = yield* outcome([401])
        assert(BlazeError.isBlazeError(found) && found.isFatal)
        assert.strictEqual(tokens.length, 1)
      })
    )
  })

  describe("several addresses", () => {
    const addresses = Settings.layer({ apiUrl: ["https://one.example", "https://two.example/api/"] })

    const asked = (reachable: (host: string) => boolean) => {
      const hosts: Array<string> = []
      const layer = withAnswer((request) =>
        Effect.suspend(() => {
          const { host, pathname } = new URL(request.url)
          hosts.push(`${host}${pathname}`)
          return reachable(host)
            ? Effect.succeed(Response.json({}))
            : Effect.fail(
                new HttpClientError.HttpClientError({
                  reason: new HttpClientError.TransportError({
                    request,
                    cause: Object.assign(new Error("no"), { code: "ENOTFOUND" })
                  })
                })
              )
        })
      ).pipe(Layer.provide(addresses))
      return { hosts, layer }
    }

    it.effect("the next is used where one cannot be reached, from then on, and it is told which", () => {
      const { hosts, layer } = asked((host) => host === "two.example")
      return Effect.gen(function* () {
        const { host } = yield* MixinApi.MixinApi
        assert.strictEqual(yield* SubscriptionRef.get(host), "one.example")
        yield* acknowledge
        yield* acknowledge
        assert.strictEqual(yield* SubscriptionRef.get(host), "two.example")
        assert.deepStrictEqual(hosts, [
          "one.example/acknowledgements",
          "two.example/api/acknowledgements",
          "two.example/api/acknowledgements"
        ])
      }).pipe(Effect.provide(layer))
    })

    it.effect("each is tried once, and the failure is the last one's", () => {
      const { hosts, layer } = asked(() => false)
      return Effect.gen(function* () {
        const error = yield* Effect.flip(acknowledge)
        assert(error.reason._tag === "Unreachable")
        assert.strictEqual(error.reason.host, "two.example")
        assert.strictEqual(hosts.length, 2)
      }).pipe(Effect.provide(layer))
    })

    it.effect("none, or one that no token may be sent to, is refused at start", () =>
      Effect.gen(function* () {
        for (const list of [[], ["https://one.example", "http://two.example"]]) {
          const error = yield* acknowledge.pipe(
            Effect.provide(withAnswer(() => Effect.never).pipe(Layer.provide(Settings.layer({ apiUrl: list })))),
            Effect.flip
          )
          assert.strictEqual(error.reason._tag, "InvalidSetting")
        }
      })
    )
  })

  it.effect("tells the clock difference of a 401 that carries a time", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(1_767_225_600_000)
      const error = yield* Effect.flip(acknowledge)
      assert.include(error.message, "10m behind the server's")
    }).pipe(
      Effect.provide(
        withAnswer(() =>
          Effect.succeed(
            Response.json(
              { error: { code: 401 } },
              { status: 401, headers: { "x-server-time": "1767226200000000000" } }
            )
          )
        )
      )
    )
  )

  it.effect("gives up an answer that does not come in 10 seconds", () =>
    Effect.gen(function* () {
      const fiber = yield* Effect.forkChild(Effect.flip(acknowledge))
      yield* Effect.promise(() => new Promise(setImmediate))
      yield* BlazeTest.settle
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual((yield* Fiber.join(fiber)).reason._tag, "Timeout")
    }).pipe(Effect.provide(withAnswer(() => Effect.never)))
  )

  it.effect("says that it cannot reach the server, without the request", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(acknowledge)
      assert(error.reason._tag === "Unreachable")
      assert.deepStrictEqual([error.reason.host, error.reason.problem], ["api.mixin.one", "ECONNRESET"])
      assert.deepStrictEqual(found(error, /Bearer|eyJ|928c5c40/), [])
    }).pipe(
      Effect.provide(
        withAnswer((request) =>
          Effect.fail(
            new HttpClientError.HttpClientError({
              reason: new HttpClientError.TransportError({
                request,
                cause: Object.assign(new Error("socket hang up"), { code: "ECONNRESET" })
              })
            })
          )
        )
      )
    )
  )
})
