import { NodeCrypto } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer } from "effect"
import { MixinApi, Signer } from "effect-blaze"
import { HttpClient, HttpClientError, HttpClientResponse, type HttpClientRequest } from "effect/http"
import { BlazeTest } from "effect-blaze/testing"
import { TestClock } from "effect/testing"
import { inspect } from "node:util"

const keystore = JSON.stringify({
  app_id: "82d20bc7-9a97-4a69-bcd0-4da502374f6c",
  session_id: "c87ff6c9-c33a-4bc3-98d7-3d449f4adfe8",
  session_private_key: "be53769cb1306c6bed402d2d3e71a1d128852f5051a2180e032efc1faa79b7b2"
})

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
  api.acknowledge([{ message_id: "928c5c40-769c-3e97-8387-fb1ae0645311", status: "READ" }])
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
    ["a real 401", () => new Response("", { status: 401 }), "Unauthorized"],
    ["a real 403", () => new Response("forbidden", { status: 403 }), "403"],
    ["a real 429", () => new Response("", { status: 429 }), "429"],
    ["a 502 of a proxy in HTML", () => new Response("<html>", { status: 502 }), "502"],
    ["HTML with 200", () => new Response("<html>busy</html>"), "BadInput"],
    ["more than a megabyte", () => new Response(`"${"x".repeat(1_100_000)}"`), "BadInput"],
    ["the answer to another request", () => Response.json({}, { headers: { "x-request-id": "other" } }), "BadInput"]
  ]
  for (const [name, answer, expected] of cases) {
    it.effect(`reads ${name} as ${expected}`, () =>
      Effect.gen(function* () {
        const found = yield* acknowledge.pipe(
          Effect.as("ok"),
          Effect.catch(({ reason }) =>
            Effect.succeed(
              reason._tag === "ApiFailure" ? [reason.code, reason.description].filter(Boolean).join(" ") : reason._tag
            )
          )
        )
        assert.strictEqual(found, expected)
      }).pipe(Effect.provide(withAnswer(() => Effect.sync(answer))))
    )
  }

  it.effect("tells the clock difference of a 401 that carries a time", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(1_767_225_600_000)
      const error = yield* Effect.flip(acknowledge)
      assert.include(error.message, "10m behind the server's")
    }).pipe(
      Effect.provide(
        withAnswer(() =>
          Effect.succeed(new Response("", { status: 401, headers: { "x-server-time": "1767226200000000000" } }))
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
      assert.notMatch(inspect(error, { depth: Infinity, showHidden: true }), /Bearer|eyJ|928c5c40/)
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
