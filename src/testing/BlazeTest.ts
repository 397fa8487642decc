/**
 * A bot and its server in memory, for tests under TestClock: no socket, no real time; people talk to the bot.
 *
 * Guarantee: everything from the frames up is the code that runs in production; only the WebSocket, HTTP and the signature of
 * the token are replaced.
 *
 * @since 0.1.0
 */
import * as NodeCrypto from "@effect/platform-node/NodeCrypto"
import * as Context from "effect/Context"
import type * as Digest from "effect/crypto/Digest"
import type * as SecureRandom from "effect/crypto/SecureRandom"
import type * as Signature from "effect/crypto/Signature"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as SubscriptionRef from "effect/SubscriptionRef"
import * as Socket from "effect/socket/Socket"
import type * as Arr from "effect/Array"
import * as Acks from "../Acks.ts"
import * as Blaze from "../Blaze.ts"
import type * as BlazeError from "../BlazeError.ts"
import * as BlazeSocket from "../BlazeSocket.ts"
import * as Frame from "../Frame.ts"
import * as Gzip from "../Gzip.ts"
import type * as Ids from "../Ids.ts"
import * as Keyed from "../Keyed.ts"
import * as MixinApi from "../MixinApi.ts"
import * as Signer from "../Signer.ts"
import * as BlazeServer from "./BlazeServer.ts"

/**
 * The bot under test, as the server sees it.
 *
 * @category services
 * @since 0.1.0
 */
export class Account extends Context.Service<Account, BlazeServer.BotAccount>()(
  "effect-blaze/testing/BlazeTest/Account"
) {}

const closeError = (code: number, closeReason?: string) =>
  new Socket.SocketError({
    reason: new Socket.SocketCloseError({ code, ...(closeReason ? { closeReason } : {}) })
  })

const openError = (cause: unknown) =>
  new Socket.SocketError({ reason: new Socket.SocketOpenError({ kind: "Unknown", cause }) })

type Frames = Arr.NonEmptyReadonlyArray<Uint8Array | string>

const dial = (server: BlazeServer.BlazeServer["Service"], bot: BlazeServer.BotAccount): BlazeSocket.Dialed => {
  let frames: Array<Uint8Array | string> = []
  let end: Socket.SocketError | undefined
  let waiter: ((effect: Effect.Effect<Frames, Socket.SocketError>) => void) | undefined
  let session: BlazeServer.ServerSession | undefined
  let signs = 0

  const wake = () => {
    const resume = waiter
    if (resume === undefined || (frames.length === 0 && end === undefined)) return
    waiter = undefined
    if (frames.length === 0) return resume(Effect.fail(end!))
    const taken = frames as unknown as Frames
    frames = []
    resume(Effect.succeed(taken))
  }
  const finish = (code: number, reason?: string) => {
    if (end !== undefined) return
    end = closeError(code, reason)
    session?.closed(code)
    wake()
  }

  const connect = Effect.suspend(() => {
    const connected = server.connect(bot, {
      send: (frame) => {
        if (end !== undefined) return
        signs++
        frames.push(frame)
        wake()
      },
      together: (send) => send(),
      close: finish,
      drop: () => finish(1006)
    })
    if (Result.isFailure(connected)) {
      const { status } = connected.failure
      const body = status === 401 ? { body: JSON.stringify({ error: BlazeServer.failure(401) }) } : {}
      return Effect.fail(openError(new BlazeSocket.RefusedUpgrade({ status, serverTime: server.now(), ...body })))
    }
    session = connected.success
    if (end !== undefined) session.closed(1006)
    return Effect.void
  })

  const reader = Effect.gen(function* () {
    // Nobody can be interrupted between the two, so that no session outlives its connection.
    yield* Effect.acquireRelease(connect, () => Effect.sync(() => finish(1000)))
    return {
      pull: Effect.callback<Frames, Socket.SocketError>((resume) => {
        waiter = resume
        wake()
        return Effect.sync(() => {
          waiter = undefined
        })
      }),
      upgrade: Socket.SocketUpgradeError.unsupported
    }
  })

  const write = (chunk: Uint8Array | string | Socket.CloseEvent) =>
    Effect.suspend(() => {
      if (end !== undefined) return Effect.fail(end)
      if (Socket.isCloseEvent(chunk)) finish(chunk.code, chunk.reason)
      else session?.receive(chunk)
      return Effect.void
    })

  return {
    socket: Socket.make({
      reader,
      writer: Effect.succeed({ write, writeAll: (chunks) => Effect.forEach(chunks, write, { discard: true }) })
    }),
    // The server in memory answers every ping at once.
    ping: Effect.sync(() => void signs++),
    terminate: Effect.sync(() => finish(1006)),
    signsOfLife: () => signs,
    isPaused: () => false,
    isSaturated: () => false
  }
}

const restFailure = (server: BlazeServer.BlazeServer["Service"]) =>
  Effect.suspend(() => {
    const failure = server.restFailure()
    return Option.isNone(failure)
      ? Effect.void
      : MixinApi.readAnswer({ ...failure.value, host: "memory", serverTime: Option.some(server.now()) })
  })

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
      const server = yield* BlazeServer.BlazeServer
      const bot = yield* Account
      return Context.empty().pipe(
        Context.add(BlazeSocket.Dialer, { dial: () => Effect.sync(() => dial(server, bot)) }),
        Context.add(Signer.Signer, { userId: bot.userId, token: () => Effect.succeed(Redacted.make("in memory")) }),
        Context.add(MixinApi.MixinApi, {
          acknowledge: (messages) =>
            Effect.andThen(
              restFailure(server),
              Effect.sync(() => server.acknowledge(bot, messages))
            ),
          me: Effect.andThen(
            restFailure(server),
            Effect.sync(() => server.me(bot))
          ),
          serverTime: Effect.sync(() => Option.some(server.now())),
          host: yield* SubscriptionRef.make("memory")
        })
      )
    })
  )
)

/**
 * Hashes, random numbers and the codec: what a bot and the server in memory need of the platform.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerPlatform: Layer.Layer<Gzip.Gzip | Digest.Digest | SecureRandom.SecureRandom | Signature.Signature> =
  Layer.mergeAll(Gzip.layerFflate, NodeCrypto.layerDigest, NodeCrypto.layerSecureRandom, NodeCrypto.layerSignature)

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
> = BlazeSocket.layer.pipe(
  Layer.provide(Frame.layer),
  Layer.provideMerge(layerTransport),
  Layer.provideMerge(layerPlatform)
)

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
const noWaiting = Layer.mergeAll(Layer.succeed(Keyed.Grace, 0), Layer.succeed(Acks.FlushTimeout, 0))

/**
 * A bot connected to a server in memory.
 *
 * **Details**
 *
 * Handlers that run when a test ends are interrupted instead of waited for; give `Keyed.Grace` to test the waiting.
 *
 * **Example** (Time passes when the test says so)
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
export const layer: Layer.Layer<Blaze.Blaze | BlazeServer.BlazeServer | Account, BlazeError.BlazeError> =
  Blaze.layer.pipe(
    Layer.provide(layerTransport),
    Layer.provideMerge(layerServer),
    Layer.provide(layerPlatform),
    Layer.provideMerge(noWaiting)
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
