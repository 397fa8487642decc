/**
 * The way between a client and the server in memory: frames, REST requests, and a signer whose tokens nobody checks.
 *
 * Guarantee: what is sent in one direction arrives in its order, or the connection ends; a connection that is half-open carries
 * nothing and tells nobody.
 *
 * @since 0.1.0
 */
import type * as Arr from "effect/Array"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Socket from "effect/socket/Socket"
import * as SubscriptionRef from "effect/SubscriptionRef"
import type * as BlazeError from "../BlazeError.ts"
import * as BlazeSocket from "../BlazeSocket.ts"
import * as MixinApi from "../MixinApi.ts"
import * as Signer from "../Signer.ts"
import * as BlazeServer from "./BlazeServer.ts"

/**
 * What lies between the two.
 *
 * @category models
 * @since 0.1.0
 */
export interface Path {
  /** What comes before the upgrade is answered. */
  readonly beforeUpgrade: Effect.Effect<void>
  /** Has something happen at the client's end, and then another thing once for all that arrives at the same moment. */
  readonly toClient: (arrive: () => void, then: () => void) => void
  /** Has something happen at the server's end, whatever becomes of the client meanwhile. */
  readonly toServer: (arrive: () => void) => void
  /** A request over REST, and its answer. */
  readonly request: <A>(serve: Effect.Effect<A, BlazeError.BlazeError>) => Effect.Effect<A, BlazeError.BlazeError>
  /** Tells the server of each open connection that its client is gone. */
  readonly connections: Set<() => void>
}

/**
 * No way at all: everything is there at once.
 *
 * @category constructors
 * @since 0.1.0
 */
export const direct = (): Path => ({
  beforeUpgrade: Effect.void,
  toClient: (arrive, then) => {
    arrive()
    then()
  },
  toServer: (arrive) => arrive(),
  request: (serve) => serve,
  connections: new Set()
})

const closeError = (code: number, closeReason?: string) =>
  new Socket.SocketError({
    reason: new Socket.SocketCloseError({ code, ...(closeReason ? { closeReason } : {}) })
  })

const openError = (cause: unknown) =>
  new Socket.SocketError({ reason: new Socket.SocketOpenError({ kind: "Unknown", cause }) })

type Frames = Arr.NonEmptyReadonlyArray<Uint8Array | string>

const dial = (
  server: BlazeServer.BlazeServer["Service"],
  bot: BlazeServer.BotAccount,
  path: Path
): BlazeSocket.Dialed => {
  let frames: Array<Uint8Array | string> = []
  let end: Socket.SocketError | undefined
  let waiter: ((effect: Effect.Effect<Frames, Socket.SocketError>) => void) | undefined
  let session: BlazeServer.ServerSession | undefined
  let signs = 0
  let stalled = false
  let serverEnded = false

  const wake = () => {
    const resume = waiter
    if (resume === undefined || (frames.length === 0 && end === undefined)) return
    waiter = undefined
    if (frames.length === 0) return resume(Effect.fail(end!))
    const taken = frames as unknown as Frames
    frames = []
    resume(Effect.succeed(taken))
  }
  const endServer = (code: number) => {
    path.connections.delete(lose)
    if (serverEnded) return
    serverEnded = true
    session?.closed(code)
  }
  const endClient = (code: number, reason?: string) => {
    if (end !== undefined) return
    end = closeError(code, reason)
  }
  const lose = () => endServer(1006)
  const toClient = (arrive: () => void) =>
    path.toClient(() => {
      if (!stalled && end === undefined) arrive()
    }, wake)
  const leave = (code: number) => {
    // Nobody hears it at the other end of a connection that is half-open; the server finds out in its own time.
    if (stalled) endServer(1006)
    else path.toServer(() => endServer(code))
  }
  const finish = (code: number, reason?: string) => {
    endServer(code)
    toClient(() => endClient(code, reason))
  }

  const connect = Effect.suspend(() => {
    const connected = server.connect(bot, {
      send: (frame) =>
        toClient(() => {
          signs++
          frames.push(frame)
        }),
      together: (send) => send(),
      close: finish,
      drop: () => finish(1006),
      stall: () => {
        stalled = true
      }
    })
    if (Result.isFailure(connected)) {
      const { status } = connected.failure
      const body = status === 401 ? { body: JSON.stringify({ error: BlazeServer.failure(401) }) } : {}
      return Effect.fail(openError(new BlazeSocket.RefusedUpgrade({ status, serverTime: server.now(), ...body })))
    }
    session = connected.success
    if (serverEnded) session.closed(1006)
    else path.connections.add(lose)
    return Effect.void
  })

  const reader = Effect.gen(function* () {
    yield* path.beforeUpgrade
    // Nobody can be interrupted between the two, so that no session outlives its connection.
    yield* Effect.acquireRelease(connect, () =>
      Effect.sync(() => {
        if (end !== undefined) return
        endClient(1000)
        wake()
        leave(1000)
      })
    )
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
      if (Socket.isCloseEvent(chunk)) {
        endClient(chunk.code, chunk.reason)
        wake()
        leave(chunk.code)
      } else {
        path.toServer(() => {
          if (!stalled && !serverEnded) session?.receive(chunk)
        })
      }
      return Effect.void
    })

  return {
    socket: Socket.make({
      reader,
      writer: Effect.succeed({ write, writeAll: (chunks) => Effect.forEach(chunks, write, { discard: true }) })
    }),
    // The server in memory answers every ping at once.
    ping: Effect.sync(() => {
      if (!stalled && !serverEnded) signs++
    }),
    terminate: Effect.sync(() => {
      endClient(1006)
      wake()
      endServer(1006)
    }),
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
 * What a client of a bot needs: a dialer, the REST API, and a signer.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* (
  server: BlazeServer.BlazeServer["Service"],
  bot: BlazeServer.BotAccount,
  path: Path
) {
  const served = <A>(serve: () => A) => path.request(Effect.andThen(restFailure(server), Effect.sync(serve)))
  return Context.empty().pipe(
    Context.add(BlazeSocket.Dialer, { dial: () => Effect.sync(() => dial(server, bot, path)) }),
    Context.add(Signer.Signer, { userId: bot.userId, token: () => Effect.succeed(Redacted.make("in memory")) }),
    Context.add(MixinApi.MixinApi, {
      acknowledge: (messages) => served(() => server.acknowledge(bot, messages)),
      me: served(() => server.me(bot)),
      serverTime: Effect.orElseSucceed(path.request(Effect.sync(() => Option.some(server.now()))), () =>
        Option.none<number>()
      ),
      host: yield* SubscriptionRef.make("memory")
    })
  )
})
