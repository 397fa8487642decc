/**
 * The Socket layer: one authorised connection as a gzip-framed, bidirectional stream of envelopes over an `effect/socket`
 * Socket.
 *
 * Guarantee: every connection has a token and a Socket value of its own, so that nothing written for one is sent on the next; a
 * peer that gives no sign of life for two ping periods ends it; a refused handshake is told as data, never with the request.
 *
 * @since 0.1.0
 */
import type * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Channel from "effect/Channel"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Pull from "effect/Pull"
import * as Scope from "effect/Scope"
import * as Socket from "effect/socket/Socket"
import * as Stream from "effect/Stream"
import * as BlazeError from "./BlazeError.ts"
import * as SecureAddress from "./internal/SecureAddress.ts"
import * as Envelope from "./Envelope.ts"
import * as Frame from "./internal/Frame.ts"
import type * as Gzip from "./Gzip.ts"
import * as Answer from "./internal/Answer.ts"
import * as Settings from "./Settings.ts"
import * as Signer from "./Signer.ts"
import * as Telemetry from "./Telemetry.ts"
import * as Meter from "./internal/Meter.ts"

/** The WebSocket subprotocol. Source: the official documentation and the Go, Node and Flutter clients. */
export const subprotocol = "Mixin-Blaze-1"

/**
 * Why a server would not talk WebSocket, as plain data: it travels as the cause of a `SocketOpenError`.
 *
 * @category models
 * @since 0.1.0
 */
export class RefusedUpgrade extends Schema.TaggedClass<RefusedUpgrade>("effect-blaze/RefusedUpgrade")(
  "RefusedUpgrade",
  {
    status: Schema.Int,
    /** What it says, where that is JSON. */
    body: Schema.optionalKey(Schema.String),
    /** The server's time, and the pause that was asked for, in milliseconds, when the headers told them. */
    serverTime: Schema.optionalKey(Schema.Finite),
    retryAfter: Schema.optionalKey(Schema.Finite)
  }
) {}

/**
 * Why nobody could be reached, as plain data: the platform's error code, or what is wrong with the handshake, in the cause of a
 * `SocketOpenError`.
 *
 * @category models
 * @since 0.1.0
 */
export class FailedDial extends Schema.TaggedClass<FailedDial>("effect-blaze/FailedDial")("FailedDial", {
  problem: Schema.String
}) {}

/**
 * One WebSocket that is not dialled yet: acquiring the socket's reader dials, closing its scope closes with 1000.
 *
 * @category models
 * @since 0.1.0
 */
export interface Dialed {
  readonly socket: Socket.Socket
  /** Where there is none, a server that has been silent is asked for what is pending. */
  readonly ping: Effect.Effect<void> | undefined
  /** Ends the connection without the closing handshake. */
  readonly terminate: Effect.Effect<void>
  /** Frames, pings and pongs that have arrived so far. */
  readonly signsOfLife: () => number
  /** Reading is paused, so that silence says nothing about the peer. */
  readonly isPaused: () => boolean
  /** So much is unsent that a write would wait: until it is taken, or fails with the end of the connection. */
  readonly isSaturated: () => boolean
}

/**
 * The port to the platform's WebSocket. `effect-blaze/node` implements it with `ws`, the tests in memory.
 *
 * @category services
 * @since 0.1.0
 */
export class Dialer extends Context.Service<
  Dialer,
  {
    readonly dial: (options: {
      readonly url: URL
      readonly token: Redacted.Redacted<string>
      readonly subprotocol: string
      readonly handshakeTimeout: Duration.Input
    }) => Effect.Effect<Dialed>
  }
>()("effect-blaze/BlazeSocket/Dialer") {}

/**
 * One authorised connection.
 *
 * @category models
 * @since 0.1.0
 */
export interface Wire {
  /** Whom it leads to. */
  readonly host: string
  /** When its token was signed, in milliseconds since 1970. */
  readonly signedAt: number
  /** The Socket underneath, whose frames are still compressed. */
  readonly socket: Socket.Socket
  /** The next frames that arrived, at least one. */
  readonly receive: Effect.Effect<Arr.NonEmptyReadonlyArray<Uint8Array | string>, BlazeError.BlazeError>
  readonly decode: (frame: Uint8Array | string) => Result.Result<Envelope.Incoming, BlazeError.BlazeError>
  /** Everything that arrives, decoded; it fails with the reason when the connection ends, and at the first bad frame. */
  readonly envelopes: Stream.Stream<Envelope.Incoming, BlazeError.BlazeError>
  readonly send: (envelope: Envelope.Request) => Effect.Effect<void, BlazeError.BlazeError>
  /** So much is unsent that `send` would wait. */
  readonly isSaturated: () => boolean
}

/**
 * Opens connections.
 *
 * **When to use**
 *
 * Use to speak the protocol yourself. `Blaze` does it for you: requests matched to answers, acknowledgements, reconnection.
 *
 * @category services
 * @since 0.1.0
 */
export class BlazeSocket extends Context.Service<
  BlazeSocket,
  {
    /** Dials the address in use, with a fresh token; the scope closes the connection with 1000. */
    readonly open: Effect.Effect<Wire, BlazeError.BlazeError, Scope.Scope>
  }
>()("effect-blaze/BlazeSocket") {}

const isRefused = Schema.is(RefusedUpgrade)
const isFailed = Schema.is(FailedDial)

const refusal = Effect.fnUntraced(function* (refused: RefusedUpgrade, host: string, signedAt: number) {
  const { body, retryAfter, serverTime, status } = refused
  const answer = yield* Effect.result(
    Answer.read({
      host,
      status,
      body: body ?? "",
      serverTime: Option.fromUndefinedOr(serverTime),
      retryAfter: Option.fromUndefinedOr(retryAfter),
      signedAt
    })
  )
  // What Mixin says itself is told in its words.
  if (Result.isFailure(answer) && answer.failure.reason._tag !== "Intermediary") return answer.failure
  return BlazeError.make(
    new BlazeError.HandshakeRefused({ host, status, ...(retryAfter === undefined ? {} : { retryAfter }) })
  )
})

const toBlazeError = Effect.fnUntraced(function* (error: Socket.SocketError, url: URL, signedAt: number) {
  const { reason } = error
  switch (reason._tag) {
    case "SocketOpenError": {
      if (reason.kind === "Timeout") {
        return handshakeTimedOut(url)
      }
      if (isRefused(reason.cause)) return yield* refusal(reason.cause, url.host, signedAt)
      const problem = isFailed(reason.cause) ? reason.cause.problem : "no connection"
      return BlazeError.make(new BlazeError.Unreachable({ host: url.host, problem }))
    }
    case "SocketCloseError": {
      const detail = reason.closeReason ? { detail: reason.closeReason.slice(0, 123) } : {}
      return BlazeError.make(new BlazeError.ConnectionLost({ code: reason.code, ...detail }))
    }
    default:
      return BlazeError.make(new BlazeError.ConnectionLost({ code: 1006 }))
  }
})

const silent = BlazeError.make(
  new BlazeError.ConnectionLost({ code: 1006, detail: "the server gave no sign of life for two ping periods" })
)

const handshakeTimedOut = (url: URL) =>
  BlazeError.make(new BlazeError.Timeout({ operation: `waiting for the handshake with ${url.host}` }))

const missedPeriods = 2

/** Nobody waits for its answer: that there is one is what it is for. */
const question: Envelope.Request = {
  id: "6d697869-6e2d-4c61-9e00-000000000000",
  action: Envelope.Action.listPendingMessages
}

/**
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<BlazeSocket, BlazeError.BlazeError, Dialer | Signer.Signer | Gzip.Gzip> = Layer.effect(
  BlazeSocket,
  Effect.gen(function* () {
    const { dial } = yield* Dialer
    const signer = yield* Signer.Signer
    const frame = yield* Frame.Frame
    const meter = yield* Meter.make(signer.userId)
    const { handshakeTimeout, pingPeriod, url: given } = yield* Settings.checked
    const urls = yield* Effect.fromResult(SecureAddress.all(given, "ws"))
    let inUse = 0

    const openAt = Effect.fnUntraced(function* (url: URL) {
      const signedAt = yield* Clock.currentTimeMillis
      const token = yield* signer.token({ method: "GET", uri: url.pathname + url.search, body: "" })
      const dialed = yield* dial({ url, token, subprotocol, handshakeTimeout })
      const reader = yield* dialed.socket.reader.pipe(
        Effect.catch((error) => Effect.flip(toBlazeError(error, url, signedAt))),
        // The platform's own timeout knows neither a proxy that is silent nor a server that answers byte by byte.
        Effect.timeoutOrElse({
          duration: handshakeTimeout,
          orElse: () => Effect.fail(handshakeTimedOut(url))
        })
      )
      const writer = yield* dialed.socket.writer

      let ended: BlazeError.BlazeError | undefined
      const fail = (error: Socket.SocketError) =>
        ended ? Effect.fail(ended) : Effect.flip(toBlazeError(error, url, signedAt))

      yield* Effect.gen(function* () {
        let seen = dialed.signsOfLife()
        let missed = 0
        while (missed < missedPeriods) {
          if (dialed.ping !== undefined) yield* Effect.ignoreCause(dialed.ping)
          else if (missed > 0) yield* Effect.ignore(writer.write(frame.encode(question)))
          yield* Effect.sleep(pingPeriod)
          const now = dialed.signsOfLife()
          missed = now !== seen || dialed.isPaused() ? 0 : missed + 1
          seen = now
        }
        ended = silent
        yield* dialed.terminate
      }).pipe(Effect.forkScoped)

      const receive = Effect.catch(reader.pull, fail)
      const wire: Wire = {
        host: url.host,
        signedAt,
        // Acquiring the reader again must not dial again.
        socket: Socket.make({ reader: Effect.succeed(reader), writer: dialed.socket.writer }),
        receive,
        decode: frame.decode,
        envelopes: Stream.fromPull(Effect.succeed(receive)).pipe(
          Stream.mapEffect((bytes) => Effect.fromResult(frame.decode(bytes)))
        ),
        send: (envelope) =>
          Effect.suspend(() => {
            const bytes = frame.encode(envelope)
            meter.measure(Telemetry.metrics.framesSent, 1)
            meter.measure(Telemetry.metrics.bytesSent, bytes.length)
            return Effect.catch(writer.write(bytes), fail)
          }),
        isSaturated: dialed.isSaturated
      }
      return wire
    })

    const open = Effect.suspend(() => {
      const tried = inUse
      return Effect.tapError(openAt(urls[tried]!), (error) =>
        Effect.sync(() => {
          if (error.isHostBound && inUse === tried) inUse = (tried + 1) % urls.length
        })
      )
    })
    return BlazeSocket.of({ open })
  }).pipe(Effect.provideServiceEffect(Frame.Frame, Frame.make))
)

/**
 * One connection as a channel: requests in, envelopes out, as gzip frames in both directions.
 *
 * **Details**
 *
 * It connects when the channel runs, and closes with 1000 at its end. The end of the requests is not that of the envelopes; the end of the
 * connection, and a request that cannot be sent, end both. Nothing is done for you: see `BlazeSocket`.
 *
 * **Example** (List what is pending, and read on)
 *
 * ```ts
 * import { Effect, Stream } from "effect"
 * import { BlazeSocket } from "effect-blaze"
 * import { BlazeTest } from "effect-blaze/testing"
 *
 * const actions = Stream.make({ id: "6ba7b810-9dad-11d1-80b4-00c04fd430c8", action: "LIST_PENDING_MESSAGES" }).pipe(
 *   Stream.pipeThroughChannel(BlazeSocket.duplex()),
 *   Stream.map(({ action }) => action),
 *   Stream.take(1),
 *   Stream.runCollect,
 *   Effect.provide(BlazeTest.layerSocket),
 *   Effect.provide(BlazeTest.layerServer)
 * )
 * console.assert((await Effect.runPromise(actions)).join() === "LIST_PENDING_MESSAGES")
 * ```
 *
 * @category channels
 * @since 0.1.0
 */
export const duplex = <E = never>(): Channel.Channel<
  Arr.NonEmptyReadonlyArray<Envelope.Incoming>,
  BlazeError.BlazeError | E,
  void,
  Arr.NonEmptyReadonlyArray<Envelope.Request>,
  E,
  unknown,
  BlazeSocket
> =>
  Channel.fromTransform((upstream, scope) =>
    Effect.gen(function* () {
      const wire = yield* Effect.flatMap(BlazeSocket, ({ open }) => Scope.provide(open, scope))
      const requests = Stream.fromPull(Effect.succeed(Pull.catchDone(upstream, () => Cause.done())))
      const sending = Stream.drain(Stream.mapEffect(requests, wire.send))
      const both = Stream.merge(wire.envelopes, sending, { haltStrategy: "left" })
      return yield* Channel.toPullScoped(Stream.toChannel(both), scope)
    })
  )
