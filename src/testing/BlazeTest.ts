/**
 * A bot and its server in memory, for tests under TestClock: no socket, no real time; people talk to the bot.
 *
 * Guarantee: everything from the frames up is the code that runs in production; only the WebSocket, HTTP and the signature of
 * the token are replaced.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as SecureRandom from "effect/crypto/SecureRandom"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as TestClock from "effect/testing/TestClock"
import * as Blaze from "../Blaze.ts"
import type * as BlazeError from "../BlazeError.ts"
import * as BlazeSocket from "../BlazeSocket.ts"
import * as Dropped from "../internal/Dropped.ts"
import * as Gzip from "../Gzip.ts"
import type * as Ids from "../Ids.ts"
import * as Keyed from "../Keyed.ts"
import type * as MixinApi from "../MixinApi.ts"
import * as PortableGzip from "../PortableGzip.ts"
import * as Settings from "../Settings.ts"
import type * as Signer from "../Signer.ts"
import * as SynchronousCryptography from "../node/SynchronousCryptography.ts"
import * as BlazeServer from "./BlazeServer.ts"
import * as MemoryTransport from "./internal/MemoryTransport.ts"
import * as Seeded from "./internal/Seeded.ts"

/**
 * The bot under test, as the server sees it.
 *
 * @category services
 * @since 0.1.0
 */
export class Account extends Context.Service<Account, BlazeServer.BotAccount>()(
  "effect-blaze/testing/BlazeTest/Account"
) {}

/**
 * The port of a bot to a server in memory: a dialer, the REST API, and a signer whose tokens nobody checks.
 *
 * **Details**
 *
 * It is fresh: each client that is given it speaks for the `Account` around that client.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerTransport: Layer.Layer<
  BlazeSocket.Dialer | MixinApi.MixinApi | Signer.Signer,
  never,
  BlazeServer.BlazeServer | Account
> = Layer.fresh(
  Layer.effectContext(
    Effect.gen(function* () {
      return yield* MemoryTransport.make(yield* BlazeServer.BlazeServer, yield* Account, MemoryTransport.direct())
    })
  )
)

/**
 * What all ids of a test follow from, those of the server, of people and of their messages included. Without one they are random.
 *
 * **Example** (The same ids in every run)
 *
 * ```ts
 * import { Effect, Layer } from "effect"
 * import { BlazeTest } from "effect-blaze/testing"
 *
 * const seeded = BlazeTest.layerServer.pipe(Layer.provide(Layer.succeed(BlazeTest.Seed, 7)))
 * const program = Effect.map(BlazeTest.user("alice"), ({ userId }) => userId).pipe(Effect.provide(seeded))
 * console.assert((await Effect.runPromise(program)) === (await Effect.runPromise(program)))
 * ```
 *
 * @category references
 * @since 0.1.0
 */
export const Seed = Context.Reference<number | undefined>("effect-blaze/testing/BlazeTest/Seed", {
  defaultValue: () => undefined
})

/**
 * Cryptography and random numbers (by `Seed`, where there is one), the codec and files: what a bot and the server in memory need of the platform.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerPlatform: Layer.Layer<Gzip.Gzip | Signer.Cryptography | FileSystem.FileSystem> = Layer.unwrap(
  Effect.map(Seed, (seed) =>
    seed === undefined
      ? Layer.mergeAll(PortableGzip.layer, SynchronousCryptography.layer, NodeFileSystem.layer)
      : Layer.merge(Seeded.layerPlatform(seed, "platform"), NodeFileSystem.layer)
  )
)

/**
 * The server in memory and its bot.
 *
 * @category models
 * @since 0.1.0
 */
export type Server = BlazeServer.BlazeServer | Account

/**
 * What a connection needs, in memory.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerSocket: Layer.Layer<
  BlazeSocket.BlazeSocket | MixinApi.MixinApi | Signer.Signer | SecureRandom.SecureRandom,
  BlazeError.BlazeError,
  Server
> = BlazeSocket.layer.pipe(Layer.provideMerge(layerTransport), Layer.provideMerge(layerPlatform))

/**
 * A server with one bot on it, and no client yet.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerServer: Layer.Layer<Server> = Layer.effect(
  Account,
  Effect.flatMap(BlazeServer.BlazeServer, (server) => server.makeBot)
).pipe(Layer.provideMerge(BlazeServer.layer), Layer.provide(layerPlatform))

// On a virtual clock a bounded wait for a handler would never end, so nobody waits; the flush is still tried once.
const noWaiting = Layer.mergeAll(Layer.succeed(Keyed.Grace, 0), Settings.layer({ flushTimeout: 0 }))

/** Remembers what was dropped; what still is at the end of the test fails it. */
const dropped = Layer.effect(
  Dropped.Watch,
  Effect.gen(function* () {
    const told: Array<{ readonly sentence: string; readonly isOpen: () => boolean }> = []
    yield* Effect.addFinalizer(() =>
      Effect.suspend(() => {
        const left = told.find(({ isOpen }) => isOpen())
        return left === undefined ? Effect.void : Effect.die(new Error(left.sentence))
      })
    )
    return {
      period: Duration.seconds(2),
      tell: (entries, sentence) =>
        Effect.sync(() => told.push({ sentence, isOpen: () => entries.some(({ value }) => value !== undefined) }))
    }
  })
)

/**
 * A bot connected to a server in memory.
 *
 * **Details**
 *
 * A test fails in the end when a delivery was dropped in it: handed out, not settled by then, and nobody at work on any nor anything
 * happening to one for two seconds of its clock. Who settles by hand says `Delivery.hold`; what a consumer has left that was interrupted
 * is not dropped.
 *
 * Handlers that run when a test ends are interrupted instead of waited for; give `Keyed.Grace` to test the waiting.
 *
 * **Example** (Time passes when the test says so)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { TestClock } from "effect/testing"
 * import { Bot, PortableGzip } from "effect-blaze"
 * import { BlazeTest } from "effect-blaze/testing"
 *
 * const program = Effect.gen(function*() {
 *   const alice = yield* BlazeTest.user("alice")
 *   yield* Effect.forkChild(Bot.run((delivery) => delivery.reply("hello")))
 *   yield* alice.say("hi")
 *   yield* BlazeTest.settle
 *   console.assert((yield* alice.reads).join() === "hello")
 *   yield* TestClock.adjust("1 second")
 *   console.assert((yield* BlazeTest.acknowledged).length === 1)
 * })
 *
 * await Effect.runPromise(program.pipe(Effect.provide(BlazeTest.layer), Effect.provide(TestClock.layer())))
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<Blaze.Services | MixinApi.MixinApi | Server, BlazeError.BlazeError> = Blaze.layer.pipe(
  Layer.provideMerge(layerTransport),
  Layer.provideMerge(layerServer),
  Layer.provide(layerPlatform),
  Layer.provideMerge(noWaiting),
  Layer.provide(dropped)
)

/**
 * A person who talks to the bot; the same name gives the same person.
 *
 * @category people
 * @since 0.1.0
 */
export const user = Effect.fnUntraced(function* (
  name: string
): Effect.fn.Return<BlazeServer.Person, never, BlazeServer.BlazeServer | Account> {
  const server = yield* BlazeServer.BlazeServer
  return yield* server.user(yield* Account, name)
})

/**
 * The acknowledgement requests that the server has got, each with its message ids.
 *
 * @category observations
 * @since 0.1.0
 */
export const acknowledged: Effect.Effect<ReadonlyArray<ReadonlyArray<Ids.MessageId>>, never, Account> = Effect.flatMap(
  Account,
  (bot) => bot.acknowledged
)

/** More turns of the scheduler than any chain of fibers in this library takes to come to rest. */
const turns = 200

/**
 * Lets every fiber run until it waits for time or for somebody: after `say`, and before `TestClock.adjust`.
 *
 * @category observations
 * @since 0.1.0
 */
export const settle: Effect.Effect<void> = Effect.yieldNow.pipe(Effect.repeat({ times: turns }), Effect.asVoid)

/**
 * Lets time pass on the clock of the test, and everybody do what is due by then.
 *
 * **Example** (The acknowledgement leaves within a second)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { TestClock } from "effect/testing"
 * import { Bot } from "effect-blaze"
 * import { BlazeTest } from "effect-blaze/testing"
 *
 * const program = Effect.gen(function*() {
 *   const alice = yield* BlazeTest.user("alice")
 *   yield* Effect.forkChild(Bot.run((delivery) => delivery.reply("hello")))
 *   yield* alice.say("hi")
 *   yield* BlazeTest.pass("1 second")
 *   console.assert((yield* BlazeTest.acknowledged).length === 1)
 * })
 *
 * await Effect.runPromise(program.pipe(Effect.provide(BlazeTest.layer), Effect.provide(TestClock.layer())))
 * ```
 *
 * @category observations
 * @since 0.1.0
 */
export const pass = (duration: Duration.Input): Effect.Effect<void> =>
  Effect.andThen(settle, Effect.andThen(TestClock.adjust(duration), settle))

export type { Cast, Stranger, Weather } from "./internal/Story.ts"
export * from "./internal/ReplayViews.ts"
export * from "./internal/Strangers.ts"
