/**
 * The way between a client and the server in memory: frames, REST requests, and a signer whose tokens nobody checks.
 *
 * Guarantee: what is sent in one direction arrives in its order, or the connection ends; a connection that is half-open carries
 * nothing and tells nobody.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Socket from "effect/socket/Socket"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import * as BlazeError from "../../BlazeError.ts"
import * as BlazeSocket from "../../BlazeSocket.ts"
import * as Mailbox from "../../internal/Mailbox.ts"
import * as Endpoint from "../../Endpoint.ts"
import * as Answer from "../../internal/Answer.ts"
import * as FileTransfer from "../../internal/FileTransfer.ts"
import * as SignedClient from "../../internal/SignedClient.ts"
import * as MixinApi from "../../MixinApi.ts"
import * as Signer from "../../Signer.ts"
import * as BlazeServer from "../BlazeServer.ts"
import * as SocketFailure from "../../internal/SocketFailure.ts"
import * as Face from "./Face.ts"
import * as RestRules from "./RestRules.ts"

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

/** The session at the server, which hears once that it has ended, even if that was before it was granted. */
const makeServerEnd = (path: Path) => {
  let session: Face.ServerSession | undefined
  let ended = false

  const end = (code: number) => {
    path.connections.delete(lose)
    if (ended) return
    ended = true
    session?.closed(code)
  }
  const lose = () => end(1006)
  return {
    end,
    hasEnded: () => ended,
    begin: (granted: Face.ServerSession) => {
      session = granted
      if (ended) session.closed(1006)
      else path.connections.add(lose)
    },
    receive: (frame: Uint8Array | string) => {
      if (!ended) session?.receive(frame)
    }
  }
}

/** A connection with both its ends; from the moment that it is stalled nothing travels on it in either direction. */
const makeConnection = (path: Path) => {
  const client = Mailbox.make<Uint8Array | string, Socket.SocketError>()
  const server = makeServerEnd(path)
  let signs = 0
  let stalled = false

  const toClient = (arrive: () => void) =>
    path.toClient(() => {
      if (!stalled && client.ended() === undefined) arrive()
    }, client.wake)
  const finish = (code: number, reason?: string) => {
    server.end(code)
    toClient(() => client.end(SocketFailure.closed(code, reason)))
  }
  const output: Face.Output = {
    send: (frame) =>
      toClient(() => {
        signs++
        client.put(frame)
      }),
    together: (send) => send(),
    close: finish,
    drop: () => finish(1006),
    stall: () => {
      stalled = true
    }
  }
  return {
    client,
    server,
    output,
    toServer: (frame: Uint8Array | string) =>
      path.toServer(() => {
        if (!stalled) server.receive(frame)
      }),
    /** The client ends it. */
    leave: (code: number, reason?: string) => {
      client.end(SocketFailure.closed(code, reason))
      client.wake()
      // Nobody hears it at the other end of a connection that is half-open; the server finds out in its own time.
      if (stalled) server.end(1006)
      else path.toServer(() => server.end(code))
    },
    /** The server in memory answers every ping at once. */
    ping: () => {
      if (!stalled && !server.hasEnded()) signs++
    },
    signsOfLife: () => signs
  }
}

const refusedUpgrade = (status: number, serverTime: number) => {
  const body = status === 401 ? { body: JSON.stringify({ error: Face.failure(401) }) } : {}
  return SocketFailure.unopened(new BlazeSocket.RefusedUpgrade({ status, serverTime, ...body }))
}

const dial = (
  server: BlazeServer.BlazeServer["Service"],
  bot: BlazeServer.BotAccount,
  path: Path
): BlazeSocket.Dialed => {
  const connection = makeConnection(path)
  const { client } = connection

  const connect = Effect.suspend(() => {
    const connected = Face.of(server).connect(bot, connection.output)
    if (Result.isFailure(connected)) return Effect.fail(refusedUpgrade(connected.failure.status, server.now()))
    connection.server.begin(connected.success)
    return Effect.void
  })

  const reader = Effect.gen(function* () {
    yield* path.beforeUpgrade
    // Nobody can be interrupted between the two, so that no session outlives its connection.
    yield* Effect.acquireRelease(connect, () =>
      Effect.sync(() => {
        if (client.ended() === undefined) connection.leave(1000)
      })
    )
    return { pull: client.pull, upgrade: Socket.SocketUpgradeError.unsupported }
  })

  const write = (chunk: Uint8Array | string | Socket.CloseEvent) =>
    Effect.suspend(() => {
      const end = client.ended()
      if (end !== undefined) return Effect.fail(end)
      if (Socket.isCloseEvent(chunk)) connection.leave(chunk.code, chunk.reason)
      else connection.toServer(chunk)
      return Effect.void
    })

  return {
    socket: Socket.make({
      reader,
      writer: Effect.succeed({ write, writeAll: (chunks) => Effect.forEach(chunks, write, { discard: true }) })
    }),
    ping: Effect.sync(connection.ping),
    terminate: Effect.sync(() => {
      client.end(SocketFailure.closed(1006))
      client.wake()
      connection.server.end(1006)
    }),
    signsOfLife: connection.signsOfLife,
    isPaused: () => false,
    isSaturated: () => false
  }
}

const parseJson = Schema.decodeUnknownResult(Schema.fromJsonString(Schema.Unknown))

const pieceSize = 64 * 1024

const broken = BlazeError.make(new BlazeError.Unreachable({ host: "memory", problem: "ECONNRESET" }))

/** Files, of which transfers may break off. */
const makeFiles = (server: BlazeServer.BlazeServer["Service"], path: Path): FileTransfer.FileTransfer => {
  const face = Face.of(server)
  const idOf = (operation: "upload" | "download", address: string) => {
    const [, id = ""] = address.split(Face.attachmentPath)
    return face.isAttachment(id) ? Effect.succeed(id) : Effect.fail(FileTransfer.refused(operation, "memory", 404))
  }
  return {
    put: (address, bytes, size) =>
      path.request(
        Effect.gen(function* () {
          const id = yield* idOf("upload", address)
          if (size > Face.maximumFileSize) return yield* FileTransfer.refused("upload", "memory", 413)
          const cut = face.takeCut() ?? Infinity
          const file = new Uint8Array(size)
          let end = 0
          yield* Stream.runForEach(bytes, (piece) => {
            if (end + piece.length > cut) return Effect.fail(broken)
            file.set(piece, end)
            end += piece.length
            return Effect.void
          })
          yield* face.store().put(id, file)
        })
      ),
    get: (address, from) =>
      path.request(
        Effect.gen(function* () {
          const id = yield* idOf("download", address)
          const stored = yield* face.store().get(id)
          if (Option.isNone(stored)) return yield* FileTransfer.refused("download", "memory", 404)
          const file = stored.value
          const end = Math.min(file.length, from + (face.takeCut() ?? Infinity))
          const pieces = Array.from({ length: Math.ceil((end - from) / pieceSize) }, (_, index) =>
            file.subarray(from + index * pieceSize, Math.min(end, from + (index + 1) * pieceSize))
          )
          const bytes = Stream.fromIterable(pieces)
          return {
            from,
            size: file.length,
            bytes: end < file.length ? Stream.concat(bytes, Stream.fail(broken)) : bytes
          }
        })
      )
  }
}

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
  const account = Option.some(bot)
  const request = Effect.fnUntraced(function* <Path extends string, Payload, Data>(
    endpoint: Endpoint.Endpoint<Path, Payload, Data>,
    input: Endpoint.Input<Path, Payload>
  ): Effect.fn.Return<Data, BlazeError.BlazeError> {
    const payload = yield* Endpoint.encode(endpoint, input.payload)
    const { method } = endpoint
    const answer = Face.of(server).request(account, { method, uri: yield* Endpoint.uri(endpoint, input.path), payload })
    const serverTime = Option.some(server.now())
    return yield* Endpoint.decode(endpoint, yield* Answer.read({ ...answer, host: "memory", serverTime }))
  })
  return Context.empty().pipe(
    Context.add(BlazeSocket.Dialer, { dial: () => Effect.sync(() => dial(server, bot, path)) }),
    Context.add(Signer.Signer, {
      userId: bot.userId,
      token: () => Effect.succeed(Redacted.make("in memory")),
      session: Face.of(server).sessionOf(bot)
    }),
    Context.add(MixinApi.MixinApi, {
      request: (endpoint, input) => path.request(request(endpoint, input)),
      serverTime: Effect.orElseSucceed(path.request(Effect.sync(() => Option.some(server.now()))), () =>
        Option.none<number>()
      ),
      files: makeFiles(server, path),
      client: SignedClient.make(({ body, method, uri }, request) =>
        path.request(
          Effect.sync(() => {
            const payload = body === "" ? Result.succeed(undefined) : parseJson(body)
            const answer = Result.isSuccess(payload)
              ? Face.of(server).request(account, { method, uri, payload: payload.success })
              : RestRules.failed(Face.failure(400))
            return HttpClientResponse.fromWeb(request, new Response(answer.body, answer))
          })
        )
      ),
      host: yield* SubscriptionRef.make("memory")
    })
  )
})
