// The two faces of the built-in server, for suites that must hold for both.
import { it } from "@effect/vitest"
import { Context, Effect, Layer, References, Schedule, type Scope } from "effect"
import { Acks, Blaze, type BlazeError, BlazeSocket, MixinApi, Settings, Signer } from "effect-blaze"
import * as Frame from "../../src/internal/Frame.ts"
import { NodeBlaze } from "effect-blaze/node"
import { BlazeServer, BlazeTest, LocalServer } from "effect-blaze/testing"
import { TestClock } from "effect/testing"
import { NodeHttpClient } from "@effect/platform-node"
import { eventually } from "../support.ts"

/** The bot's side: what a test may ask for, connected when the layer is built. */
type Client = Layer.Layer<Blaze.Services, BlazeError.BlazeError, Server>
type Server = BlazeServer.BlazeServer | BlazeTest.Account

export class Face extends Context.Service<
  Face,
  {
    readonly client: Client
    readonly clientOverSocket: Client
    readonly socket: Layer.Layer<BlazeSocket.BlazeSocket, BlazeError.BlazeError, Server>
    readonly api: Layer.Layer<MixinApi.MixinApi, BlazeError.BlazeError, Server>
    /** Waits until the other side has done its part. */
    readonly reaches: (condition: Effect.Effect<boolean>) => Effect.Effect<void>
    /** Long enough for anything that is under way to arrive. */
    readonly quiet: Effect.Effect<void>
  }
>()("test/contract/Face") {}

const reconnectSoon = Settings.layer({ reconnect: Schedule.spaced("20 millis"), stableAfter: "1 minute" })
const batchSoon = Settings.layer({ acknowledgeBatch: 100, acknowledgeWithin: "20 millis" })
const soon = Layer.mergeAll(reconnectSoon, batchSoon)

const memoryClient = (ports: Blaze.Ports<never, never>): Client =>
  Blaze.layerWith(ports).pipe(
    Layer.provide(BlazeTest.layerTransport),
    Layer.provide(Layer.mergeAll(BlazeTest.layerPlatform, soon))
  )

const step = Effect.andThen(BlazeTest.settle, TestClock.adjust("20 millis"))

const memory = Layer.succeed(Face, {
  client: memoryClient({}),
  clientOverSocket: memoryClient({ acks: Acks.layerSocket }),
  socket: BlazeSocket.layer.pipe(
    Layer.provide([BlazeTest.layerTransport, Frame.layer]),
    Layer.provide(BlazeTest.layerPlatform)
  ),
  api: BlazeTest.layerTransport,
  reaches: (condition) =>
    condition.pipe(
      Effect.flatMap((done) => (done ? Effect.succeed(true) : Effect.as(step, false))),
      Effect.repeat({ until: (done) => done, times: 200 }),
      Effect.flatMap((done) => (done === true ? Effect.void : Effect.die("the condition was not reached")))
    ),
  quiet: Effect.repeat(step, { times: 5 }).pipe(Effect.asVoid)
})

const network = Layer.effect(
  Face,
  Effect.gen(function* () {
    const local = yield* LocalServer.LocalServer
    const addresses = Layer.mergeAll(Settings.layer({ url: local.url, apiUrl: local.apiUrl }))
    const signer = Layer.unwrap(Effect.map(BlazeTest.Account, ({ keystore }) => Signer.layerString(keystore)))
    const client = (ports: Blaze.Ports<never, never>): Client =>
      Layer.unwrap(
        Effect.map(BlazeTest.Account, ({ keystore }) => NodeBlaze.layer(Signer.layerString(keystore), ports))
      ).pipe(Layer.provide([addresses, soon]))
    return {
      client: client({}),
      clientOverSocket: client({ acks: Acks.layerSocket }),
      socket: BlazeSocket.layer.pipe(
        Layer.provide([signer, Frame.layer]),
        Layer.provide([NodeBlaze.layerPlatform, addresses])
      ),
      api: MixinApi.layer.pipe(
        Layer.provide([signer, NodeHttpClient.layerNodeHttp]),
        Layer.provide([NodeBlaze.layerPlatform, addresses])
      ),
      reaches: eventually,
      // Timers go off in the order of their times, and what was sent before a round trip has arrived after it.
      quiet: Effect.sleep("20 millis").pipe(
        Effect.andThen(Effect.promise(() => fetch(local.apiUrl).then((answer) => answer.text()))),
        Effect.repeat({ times: 5 }),
        Effect.asVoid
      )
    }
  })
)

export const memoryServer = memory.pipe(Layer.provideMerge(BlazeTest.layerServer))
const networkServer = network.pipe(
  Layer.provideMerge(
    Layer.effect(
      BlazeTest.Account,
      Effect.flatMap(BlazeServer.BlazeServer, (server) => server.makeBot)
    )
  ),
  Layer.provideMerge(LocalServer.layer())
)

/** Runs a test against both faces. */
export const both = <E>(
  name: string,
  test: Effect.Effect<void, E, Face | BlazeServer.BlazeServer | BlazeTest.Account | Scope.Scope>
) => {
  it.effect(`${name} (in memory)`, () => Effect.provide(test, memoryServer))
  it.live(`${name} (over the network)`, () =>
    test.pipe(Effect.provide(networkServer), Effect.provideService(References.MinimumLogLevel, "None"))
  )
}

/** The server, its bot and a person. */
export const scene = Effect.gen(function* () {
  const server = yield* BlazeServer.BlazeServer
  const bot = yield* BlazeTest.Account
  const alice = yield* server.user(bot, "alice")
  return { server, bot, alice, ...(yield* Face) }
})
