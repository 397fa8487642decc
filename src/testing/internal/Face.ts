/**
 * The way into a server, for its faces: connections and requests over REST, once it is known of whom.
 *
 * Guarantee: nobody finds it but who imports this file, which nobody outside of the package can.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Result from "effect/Result"
import type * as Envelope from "../../Envelope.ts"
import type { BotAccount, Event } from "../BlazeServer.ts"
import type * as Cipher from "../../internal/Cipher.ts"
import type * as RestRules from "./RestRules.ts"

/**
 * One open connection, for a face to carry bytes in and out.
 *
 * @category models
 * @since 0.1.0
 */
export interface ServerSession {
  readonly receive: (frame: Uint8Array | string) => void
  readonly closed: (code: number) => void
}

/**
 * What a face gives the server for one connection.
 *
 * @category models
 * @since 0.1.0
 */
export interface Output {
  readonly send: (frame: Uint8Array | string) => void
  /** Sends many frames at the price of one. */
  readonly together: (send: () => void) => void
  readonly close: (code: number, reason: string) => void
  readonly drop: () => void
  /** From now on nothing travels on it, and nobody is told. */
  readonly stall: () => void
}

/**
 * The bytes of files, by the ids of their slots.
 *
 * @category models
 * @since 0.1.0
 */
export interface Store {
  readonly put: (id: string, bytes: Uint8Array) => Effect.Effect<void>
  readonly get: (id: string) => Effect.Effect<Option.Option<Uint8Array>>
}

/**
 * Files in memory.
 *
 * @category constructors
 * @since 0.1.0
 */
export const memoryStore = (): Store => {
  const files = new Map<string, Uint8Array>()
  return {
    put: (id, bytes) => Effect.sync(() => void files.set(id, bytes)),
    get: (id) => Effect.sync(() => Option.fromUndefinedOr(files.get(id)))
  }
}

/**
 * @category models
 * @since 0.1.0
 */
export interface Face {
  /** A handshake, refused or granted. */
  readonly connect: (bot: BotAccount, output: Output) => Result.Result<ServerSession, { readonly status: number }>
  /** A handshake that was refused before it came to the rules. */
  readonly refuse: (bot: Option.Option<BotAccount>, status: number) => void
  /** A request over REST, of a bot or of nobody who is known. */
  readonly request: (bot: Option.Option<BotAccount>, request: RestRules.Request) => RestRules.Answer
  /** Where files are taken and given, as `http://127.0.0.1:8080`. */
  readonly setOrigin: (url: string) => void
  /** What a bot reads encrypted messages by, for a signer in memory; nothing with an RSA key. */
  readonly sessionOf: (bot: BotAccount) => Cipher.Session | undefined
  /** Whether there is a slot for a file, which is not too old. */
  readonly isAttachment: (id: string) => boolean
  /** Where the bytes of files are: in memory, until a face says otherwise. */
  readonly store: () => Store
  readonly setStore: (store: Store) => void
  /** After how many bytes the next transfer of a file breaks off, if it does. */
  readonly takeCut: () => number | undefined
  /** Hears each event where it happens: a fiber on the stream of them would cost more than the rest of a message does. */
  readonly listen: (listener: (event: Event) => void) => void
}

class Behind {
  readonly #face: Face

  constructor(face: Face) {
    this.#face = face
  }

  static of(server: object): Face {
    if (#face in server) return server.#face
    throw new TypeError("This server has no faces: it was not made by BlazeServer.layer.")
  }
}

/**
 * A server with a way into it that its type does not show.
 *
 * @category constructors
 * @since 0.1.0
 */
export const behind = <A extends object>(face: Face, server: A): A => Object.assign(new Behind(face), server)

/**
 * The way into a server.
 *
 * @category accessors
 * @since 0.1.0
 */
export const of = (server: object): Face => Behind.of(server)

/** What stands before the id in the address of a file. */
export const attachmentPath = "/attachments/store/"

/** The largest file, in bytes. */
export const maximumFileSize = 2 * 1024 ** 3

/** How many bytes of JSON one request may have. Source: the official documentation. */
export const maximumRequestSize = 128 * 1024

/** The level of compression that Go's server uses. */
export const compressionLevel = 3

/** Names no operating system in the header of a gzip member, as Go does; in place. */
export const withGoHeader = (frame: Uint8Array): Uint8Array => {
  frame[9] = 0xff
  return frame
}

// The words of the server, as captured and as it documents them, its slips of the pen included.
const descriptions: Readonly<Record<number, string>> = {
  400: "The request body can’t be pasred as valid data.",
  401: "Unauthorized, maybe invalid token.",
  403: "Forbidden",
  404: "The endpoint is not found.",
  429: "Too Many Requests",
  500: "Internal Server Error",
  7000: "Blaze server error.",
  7001: "The blaze operation timeout.",
  10001: "Internal Server Error",
  10002: "The request data has invalid field.",
  10006: "App update required.",
  20116: "The group chat is full.",
  20121: "Authorization code expired.",
  20140: "The conversation checksum is invalid."
}

const codesOfStatus500: ReadonlySet<number> = new Set([500, 7000, 7001, 10001])

/**
 * The `error` that the server answers with, the same in a frame and over REST. `field` is what a 10002 is about.
 *
 * @since 0.1.0
 */
export const failure = (code: number, field?: string): Envelope.ErrorBody => ({
  status: codesOfStatus500.has(code) ? 500 : 202,
  code,
  description: descriptions[code] ?? `Error ${code}.`,
  ...(field === undefined ? {} : { extra: field })
})
