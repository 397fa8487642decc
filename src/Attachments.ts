/**
 * Files: uploaded to the address that the API gives for one, and downloaded from there.
 *
 * Guarantee: what is uploaded is uploaded once, however often it is tried; what is downloaded is never longer than was said, is asked for from
 * where it broke off, and of an encrypted file not a byte is handed on before all of it was checked. Nothing is longer in memory than a
 * part of it, but for what is encrypted.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Digest from "effect/crypto/Digest"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Effect from "effect/Effect"
import * as Hex from "effect/encoding/Hex"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as PlatformError from "effect/PlatformError"
import * as Queue from "effect/Queue"
import * as Random from "effect/Random"
import type * as Redacted from "effect/Redacted"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import * as BlazeError from "./BlazeError.ts"
import * as Endpoint from "./Endpoint.ts"
import type * as Cipher from "./internal/Cipher.ts"
import * as FileCipher from "./internal/FileCipher.ts"
import * as Lookup from "./internal/Lookup.ts"
import * as Retrying from "./internal/Retrying.ts"
import * as MixinApi from "./MixinApi.ts"
import * as Settings from "./Settings.ts"

/**
 * A file that is read piece by piece, once.
 *
 * @category models
 * @since 0.1.0
 */
export interface StreamSource {
  readonly stream: Stream.Stream<Uint8Array, unknown>
  /** How many bytes it has. */
  readonly size: number
  /** What it is called, for whoever gets it, and by its end of what type it is. */
  readonly name?: string | undefined
  /** What makes it this file and no other among the answers to one message: its bytes are not looked at for that. */
  readonly key: string
}

/**
 * Where a file comes from: a path, its bytes, or a stream of them.
 *
 * @category models
 * @since 0.1.0
 */
export type Source = string | Uint8Array | StreamSource

/**
 * Whether it is read once, and not known by its bytes.
 *
 * @category guards
 * @since 0.1.0
 */
export const isStreamSource = (source: Source): source is StreamSource =>
  typeof source === "object" && !(source instanceof Uint8Array)

/**
 * A file that was uploaded, by somebody or by the bot.
 *
 * @category models
 * @since 0.1.0
 */
export interface Attachment {
  readonly attachmentId: string
  /** How many bytes it has, as whoever sent it says; without what encryption adds. */
  readonly size: number | undefined
  /** What an encrypted file is read with. */
  readonly secret?: { readonly key: Redacted.Redacted<Uint8Array>; readonly digest: Uint8Array } | undefined
  /** When its slot was given, as the server wrote it. */
  readonly createdAt?: string | undefined
  /** What makes the file this one and no other, of one that the bot has uploaded: its bytes, or the key of its stream. */
  readonly identity?: string | undefined
}

/**
 * How far an upload has come, in bytes; with the last one the attachment.
 *
 * @category models
 * @since 0.1.0
 */
export interface Progress {
  readonly done: number
  readonly total: number
  readonly attachment: Option.Option<Attachment>
}

/**
 * How a file is uploaded.
 *
 * @category models
 * @since 0.1.0
 */
export interface UploadOptions {
  /** Encrypts it, for an encrypted message: `false`. */
  readonly encrypted?: boolean | undefined
  /**
   * Files of one identity are one: what was uploaded within the hour is not uploaded again. Left out, that of the bytes is, and a stream is
   * one of its own.
   */
  readonly identity?: string | undefined
}

/**
 * Uploads and downloads.
 *
 * **Example** (An upload whose progress is shown)
 *
 * ```ts
 * import { Effect, Stream } from "effect"
 * import { Attachments } from "effect-blaze"
 *
 * const upload = Effect.fnUntraced(function* (path: string) {
 *   const attachments = yield* Attachments.Attachments
 *   return yield* attachments.upload(path).pipe(
 *     Stream.tap(({ done, total }) => Effect.log(`${done} of ${total} bytes`)),
 *     Stream.runLast
 *   )
 * })
 * ```
 *
 * @category services
 * @since 0.1.0
 */
export class Attachments extends Context.Service<
  Attachments,
  {
    /** Uploads a file, and tells how far it has come. */
    readonly upload: (source: Source, options?: UploadOptions) => Stream.Stream<Progress, BlazeError.BlazeError>
    /** The bytes of a file. */
    readonly download: (attachment: Attachment) => Stream.Stream<Uint8Array, BlazeError.BlazeError>
    /** What can be known of a file without reading all of it. */
    readonly inspect: (source: Source) => Effect.Effect<Inspected, BlazeError.BlazeError>
    /** What makes a file this one and no other: its bytes, or the key of a stream. */
    readonly identify: (source: Source) => Effect.Effect<string, BlazeError.BlazeError>
  }
>()("effect-blaze/Attachments") {}

/**
 * @category models
 * @since 0.1.0
 */
export interface Inspected {
  readonly size: number
  readonly name: string | undefined
  /** How it begins: up to 512 KiB. Nothing of a stream. */
  readonly head: Uint8Array
}

/** A photograph may have much to say before its size. */
const headSize = 512 * 1024
const blockSize = 1024 * 1024
const pieceSize = 256 * 1024
const hashLength = 32

/** How many uploads are remembered. */
const maximumUploads = 10_000

const failed = (operation: BlazeError.FileFailed["operation"], problem: string, isLasting: boolean) =>
  BlazeError.make(new BlazeError.FileFailed({ operation, problem, isLasting }))

// A path may tell more than it should; what is wrong with it does not.
const fileError = (operation: "reading" | "writing") => (error: PlatformError.PlatformError) =>
  failed(operation, `the file system says ${error.reason._tag}`, false)

const tooLong = (operation: BlazeError.FileFailed["operation"], maximum: number) =>
  failed(operation, `it has more than ${maximum} bytes`, true)

const baseName = (path: string) => path.split(/[\\/]/).at(-1)

interface Opened extends Inspected {
  readonly bytes: Stream.Stream<Uint8Array, BlazeError.BlazeError>
}

const piecesOf = (bytes: Uint8Array): Stream.Stream<Uint8Array> =>
  Stream.fromIterable(
    Array.from({ length: Math.ceil(bytes.length / pieceSize) }, (_, index) =>
      bytes.subarray(index * pieceSize, (index + 1) * pieceSize)
    )
  )

/** Exactly as many bytes as were said: a host is told how many there are before they come. */
const exactly = (
  bytes: Stream.Stream<Uint8Array, BlazeError.BlazeError>,
  size: number
): Stream.Stream<Uint8Array, BlazeError.BlazeError> =>
  Stream.suspend(() => {
    let read = 0
    const wrong = () =>
      failed("reading", `it was said to have ${size} bytes, and has ${read < size ? "fewer" : "more"}`, true)
    return bytes.pipe(
      Stream.tap((piece) => {
        read += piece.length
        return read > size ? Effect.fail(wrong()) : Effect.void
      }),
      Stream.concat(Stream.suspend(() => (read < size ? Stream.fail(wrong()) : Stream.empty)))
    )
  })

const makeOpen = (files: Option.Option<FileSystem.FileSystem>) => {
  const openPath = Effect.fnUntraced(function* (path: string): Effect.fn.Return<Opened, BlazeError.BlazeError> {
    if (Option.isNone(files)) return yield* failed("reading", "there is no file system here", true)
    const fileSystem = files.value
    const { size: bigSize, type } = yield* Effect.mapError(fileSystem.stat(path), fileError("reading"))
    if (type !== "File") return yield* failed("reading", "it is no file", true)
    const pieces = (chunkSize: number, bytesToRead: number) =>
      Stream.mapError(fileSystem.stream(path, { chunkSize, bytesToRead }), fileError("reading"))
    const size = Number(bigSize)
    const [head = new Uint8Array(0)] = yield* Stream.runCollect(pieces(headSize, headSize))
    // As much as there was: a log may grow meanwhile.
    return { size, name: baseName(path), head, bytes: exactly(pieces(pieceSize, size), size) }
  })

  return (source: Source): Effect.Effect<Opened, BlazeError.BlazeError> => {
    if (typeof source === "string") return openPath(source)
    if (source instanceof Uint8Array) {
      return Effect.succeed({
        size: source.length,
        name: undefined,
        head: source,
        bytes: piecesOf(source)
      })
    }
    const { name, size, stream } = source
    if (!Number.isSafeInteger(size) || size < 0) {
      return Effect.fail(failed("reading", "the size of its stream is no number of bytes", true))
    }
    const bytes = Stream.mapError(stream, (error) =>
      BlazeError.isBlazeError(error) ? error : failed("reading", "the stream of its bytes has failed", false)
    )
    return Effect.succeed({ size, name, head: new Uint8Array(0), bytes: exactly(bytes, size) })
  }
}

const collect = (bytes: Stream.Stream<Uint8Array, BlazeError.BlazeError>, size: number) =>
  Effect.suspend(() => {
    const all = new Uint8Array(size)
    let end = 0
    return Effect.as(
      Stream.runForEach(bytes, (piece) =>
        Effect.sync(() => {
          all.set(piece, end)
          end += piece.length
        })
      ),
      all
    )
  })

/** What makes a file this one and no other. */
const makeIdentities = Effect.fnUntraced(function* (open: ReturnType<typeof makeOpen>) {
  const { digest } = yield* Digest.Digest

  /** Blocks of a size of ours, whatever comes in one piece: each is hashed behind the hash of all before it. */
  const makeHash = () => {
    const block = new Uint8Array(hashLength + blockSize)
    let end = hashLength
    let size = 0
    const next = Effect.suspend(() =>
      Effect.map(digest(Digest.sha256, block.subarray(0, end)), (hash) => {
        block.set(hash)
        end = hashLength
      })
    )
    const take = (piece: Uint8Array): Effect.Effect<void> => {
      const taken = piece.subarray(0, block.length - end)
      block.set(taken, end)
      end += taken.length
      size += taken.length
      return end < block.length
        ? Effect.void
        : Effect.andThen(
            next,
            Effect.suspend(() => take(piece.subarray(taken.length)))
          )
    }
    return { take, identity: Effect.map(next, () => `${size} ${Hex.encode(block.subarray(0, hashLength))}`) }
  }

  return {
    identify: (source: Source): Effect.Effect<string, BlazeError.BlazeError> =>
      isStreamSource(source)
        ? Effect.succeed(`key ${source.key}`)
        : Effect.flatMap(open(source), ({ bytes }) => {
            const { identity, take } = makeHash()
            return Effect.andThen(Stream.runForEach(bytes, take), identity)
          }),
    /** Bytes that are those that they were when they were looked at, or a failure at their end. */
    checked: (bytes: Stream.Stream<Uint8Array, BlazeError.BlazeError>, expected: string) =>
      Stream.suspend(() => {
        const { identity, take } = makeHash()
        return Stream.concat(
          Stream.tap(bytes, take),
          Stream.unwrap(
            Effect.map(identity, (found) =>
              found === expected
                ? Stream.empty
                : Stream.fail(failed("reading", "it was changed while it was read", false))
            )
          )
        )
      })
  }
})
type Identities = Effect.Success<ReturnType<typeof makeIdentities>>

/** Not an identity of the program's own, which says nothing of the bytes. */
const isDigest = (identity: string | undefined): identity is string => /^\d+ [0-9a-f]{64}$/.test(identity ?? "")

/** A slot that was given, and whether its file is in it. */
interface Slot {
  readonly slot: Endpoint.Attachment
  secret: Attachment["secret"]
  isFull: boolean
  /** One upload at a time: who comes meanwhile finds it full. */
  readonly lock: Semaphore.Semaphore
}

/** Uploads what is not uploaded yet, into the slot that was given for it. */
const makeUpload = Effect.fnUntraced(function* (open: ReturnType<typeof makeOpen>, { checked, identify }: Identities) {
  const api = yield* MixinApi.MixinApi
  const settings = yield* Settings.checked
  const { uuidV4 } = yield* SecureRandom.SecureRandom
  const services = yield* Effect.context<Cipher.Ciphers | Digest.Digest | SecureRandom.SecureRandom>()
  const slots = yield* Lookup.make({
    ask: (_identity: string) =>
      Effect.map(api.request(Endpoint.createAttachment, {}), (slot) =>
        Option.some<Slot>({ slot, secret: undefined, isFull: false, lock: Semaphore.makeUnsafe(1) })
      ),
    timeToLive: { some: "1 hour", none: 0 },
    maximum: maximumUploads,
    sizeOf: () => 1
  })

  const sealed = Effect.fnUntraced(function* ({ bytes, size }: Opened) {
    const { maximumEncryptedFile } = settings
    if (size > maximumEncryptedFile) return yield* tooLong("upload", maximumEncryptedFile)
    const { bytes: all, digest, key } = yield* FileCipher.seal(yield* collect(bytes, size))
    return { size: all.length, bytes: piecesOf(all), secret: { key, digest } }
  })

  const put = Effect.fnUntraced(function* (
    { slot }: Slot,
    { bytes, size }: Pick<Opened, "bytes" | "size">,
    tell: (done: number) => void
  ) {
    let done = 0
    tell(0)
    const told = Stream.tap(bytes, (piece) => {
      done += piece.length
      tell(done)
      return Effect.void
    })
    yield* api.files.put(slot.upload_url ?? "", told, size)
  })

  const fill = Effect.fnUntraced(function* (
    entry: Slot,
    opened: Opened,
    encrypted: boolean,
    tell: (progress: Progress) => void
  ) {
    if (entry.isFull) return opened.size
    const file = encrypted ? yield* sealed(opened) : { ...opened, secret: undefined }
    yield* put(entry, file, (done) => tell({ done, total: file.size, attachment: Option.none() }))
    entry.secret = file.secret
    entry.isFull = true
    return file.size
  })

  return Effect.fnUntraced(function* (
    source: Source,
    { encrypted = false, identity }: UploadOptions,
    tell: (progress: Progress) => void
  ): Effect.fn.Return<void, BlazeError.BlazeError> {
    const opened = yield* open(source)
    const own = isStreamSource(source) ? undefined : (identity ?? (yield* identify(source)))
    const key = JSON.stringify([identity ?? own ?? (yield* uuidV4()), encrypted])
    const upload = Effect.gen(function* () {
      const entry = Option.getOrThrow(yield* slots.get(key))
      const unchanged = isDigest(own) ? { ...opened, bytes: checked(opened.bytes, own) } : opened
      const total = yield* entry.lock.withPermits(1)(fill(entry, unchanged, encrypted, tell))
      const attachment = {
        attachmentId: entry.slot.attachment_id,
        size: opened.size,
        secret: entry.secret,
        createdAt: entry.slot.created_at,
        identity: isStreamSource(source) ? `key ${source.key}` : own
      }
      tell({ done: total, total, attachment: Option.some(attachment) })
    }).pipe(
      // A slot that takes nothing any more is no slot.
      Effect.tapError(({ reason }) => (reason._tag === "FileFailed" ? slots.forget(key) : Effect.void)),
      Effect.provideContext(services)
    )
    // A stream may not give its bytes twice.
    yield* isStreamSource(source) ? upload : Retrying.retried(upload, settings.sendRetry)
  })
})

/** Lets go of a body that nobody will read: only one that was begun can be ended. */
const refusing = (
  bytes: Stream.Stream<Uint8Array, BlazeError.BlazeError>,
  error: BlazeError.BlazeError
): Stream.Stream<Uint8Array, BlazeError.BlazeError> =>
  Stream.concat(Stream.drain(Stream.ignore(Stream.take(bytes, 1))), Stream.fail(error))

/** Downloads a file, from where it broke off if it does. */
const makeDownload = Effect.gen(function* () {
  const api = yield* MixinApi.MixinApi
  const settings = yield* Settings.checked
  const services = yield* Effect.context<Cipher.Ciphers | Digest.Digest>()
  const { maximumDownload, maximumEncryptedFile } = settings

  /** From a place on, at the address that the file has now. */
  const part = Effect.fnUntraced(function* (attachmentId: string, from: number) {
    const { view_url } = yield* api.request(Endpoint.attachment, { path: { id: attachmentId } })
    return yield* api.files.get(view_url ?? "", from)
  })

  const pieces = (attachmentId: string, maximum: number): Stream.Stream<Uint8Array, BlazeError.BlazeError> =>
    Stream.suspend(() => {
      let had = 0
      let total: number | undefined
      const rest: Stream.Stream<Uint8Array, BlazeError.BlazeError> = Stream.unwrap(
        Effect.map(
          Effect.suspend(() => part(attachmentId, had)),
          ({ bytes, from, size }) => {
            const whole = total ?? size
            if (size !== undefined && size !== whole) {
              return refusing(bytes, failed("download", "it is another than it was", true))
            }
            total = whole
            if (size !== undefined && size > maximum) return refusing(bytes, tooLong("download", maximum))
            // What a host that gives no parts has given already.
            let passed = had - from
            return bytes.pipe(
              Stream.map((piece) => {
                const fresh = piece.subarray(Math.min(passed, piece.length))
                passed -= piece.length - fresh.length
                return fresh
              }),
              Stream.filter((piece) => piece.length > 0),
              Stream.tap((piece) => {
                had += piece.length
                return had > maximum ? Effect.fail(tooLong("download", maximum)) : Effect.void
              }),
              // What breaks off behind the last byte is whole.
              Stream.catch((error) => (had === size ? Stream.empty : Stream.fail(error))),
              Stream.concat(
                Stream.suspend(() =>
                  size === undefined || had >= size
                    ? Stream.empty
                    : Stream.fail(failed("download", `it broke off after ${had} of ${size} bytes`, false))
                )
              )
            )
          }
        )
      )
      return Retrying.resumed(rest, settings.sendRetry, () => had)
    })

  const open = Effect.fnUntraced(function* ({ attachmentId, secret }: Attachment) {
    const { digest, key } = secret!
    const collected = yield* Stream.runCollect(pieces(attachmentId, maximumEncryptedFile + FileCipher.overhead))
    const size = collected.reduce((sum, piece) => sum + piece.length, 0)
    const bytes = yield* collect(Stream.fromIterable(collected), size)
    return yield* Effect.mapError(Effect.provideContext(FileCipher.open({ bytes, digest, key }), services), (problem) =>
      failed("download", problem, true)
    )
  })

  return (attachment: Attachment): Stream.Stream<Uint8Array, BlazeError.BlazeError> =>
    attachment.secret === undefined
      ? pieces(attachment.attachmentId, maximumDownload)
      : Stream.unwrap(Effect.map(open(attachment), piecesOf))
})

/**
 * @category constructors
 * @since 0.1.0
 */
export const make: Effect.Effect<
  Attachments["Service"],
  BlazeError.BlazeError,
  MixinApi.MixinApi | Cipher.Ciphers | Digest.Digest | SecureRandom.SecureRandom
> = Effect.gen(function* () {
  const open = makeOpen(yield* Effect.serviceOption(FileSystem.FileSystem))
  const identities = yield* makeIdentities(open)
  const upload = yield* makeUpload(open, identities)
  return {
    upload: (source, options = {}) =>
      Stream.callback<Progress, BlazeError.BlazeError>(
        (queue) =>
          upload(source, options, (progress) => void Queue.offerUnsafe(queue, progress)).pipe(
            Effect.andThen(Queue.end(queue)),
            Effect.catch((error) => Queue.fail(queue, error))
          ),
        // Who looks late sees how far it is by then.
        { bufferSize: 16, strategy: "sliding" }
      ),
    download: yield* makeDownload,
    inspect: (source) => Effect.map(open(source), ({ head, name, size }) => ({ head, name, size })),
    identify: identities.identify
  }
})

/**
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<
  Attachments,
  BlazeError.BlazeError,
  MixinApi.MixinApi | Cipher.Ciphers | Digest.Digest | SecureRandom.SecureRandom
> = Layer.effect(Attachments, make)

/**
 * The bytes of a file.
 *
 * @category downloading
 * @since 0.1.0
 */
export const download = (attachment: Attachment): Stream.Stream<Uint8Array, BlazeError.BlazeError, Attachments> =>
  Stream.unwrap(Effect.map(Attachments, (attachments) => attachments.download(attachment)))

/**
 * Writes a file to a path: beside it at first, and in its place once all of it is there.
 *
 * @category downloading
 * @since 0.1.0
 */
export const saveTo = Effect.fnUntraced(function* (
  attachment: Attachment,
  path: string
): Effect.fn.Return<void, BlazeError.BlazeError, Attachments | FileSystem.FileSystem> {
  const files = yield* FileSystem.FileSystem
  // Nobody else's, and nothing that the sender has a say in.
  const partial = `${path}.${(yield* Random.nextIntBetween(0, 2 ** 48)).toString(36)}.part`
  yield* Stream.run(download(attachment), files.sink(partial, { flag: "wx" })).pipe(
    Effect.andThen(files.rename(partial, path)),
    Effect.mapError((error) => (BlazeError.isBlazeError(error) ? error : fileError("writing")(error))),
    Effect.onError(() => Effect.ignore(files.remove(partial, { force: true })))
  )
})
