/**
 * What is sent with a file: the file uploaded, and its payload written.
 *
 * Guarantee: nothing is uploaded for content that breaks a limit; what is sent again has the attachment that it had.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { lookup } from "mrmime"
import * as Attachments from "../Attachments.ts"
import * as Base64 from "../Base64.ts"
import * as BlazeError from "../BlazeError.ts"
import type * as Ids from "../Ids.ts"
import * as Outgoing from "../Outgoing.ts"
import * as Settings from "../Settings.ts"
import * as Picture from "./Picture.ts"

/**
 * @category models
 * @since 0.1.0
 */
export interface Uploads {
  /** The answer with it has a key or an id: nothing depends on its bytes. */
  readonly keyed: (file: Outgoing.File) => void
  /** What makes it this answer and no other; its file is read for that, unless it has a key. */
  readonly identify: (
    content: Outgoing.Outgoing,
    file: Outgoing.File
  ) => Effect.Effect<ReadonlyArray<string>, BlazeError.BlazeError>
  /** The same with its payload. */
  readonly fill: (
    content: Outgoing.Outgoing,
    file: Outgoing.File,
    messageId: Ids.MessageId,
    encrypted: boolean
  ) => Effect.Effect<Outgoing.Outgoing, BlazeError.BlazeError>
}

const isUploaded = (source: Outgoing.FileSource): source is Attachments.Attachment =>
  typeof source === "object" && "attachmentId" in source

/** What fits a request, in base64, with the attachment and the envelope. */
const maximumPayload = 90_000

const typeOf = (name: string | undefined) => {
  const end = /[^.]\.([^.]+)$/.exec(name ?? "")?.[1]
  const type: unknown = end === undefined ? undefined : lookup(end)
  return typeof type === "string" ? type : undefined
}

const factsOf = Effect.fnUntraced(function* (
  { kind, name: given }: Outgoing.File,
  { head, name = given }: Pick<Attachments.Inspected, "head" | "name">
) {
  const picture = kind === "Image" && head.length > 0 ? yield* Picture.read(head) : undefined
  return {
    name: given ?? name,
    mimeType: picture?.type === undefined ? typeOf(name) : lookup(picture.type),
    width: picture?.width,
    height: picture?.height
  }
})

/**
 * @category constructors
 * @since 0.1.0
 */
export const make: Effect.Effect<Uploads, BlazeError.BlazeError, Attachments.Attachments> = Effect.gen(function* () {
  const { encryptionRequired } = yield* Settings.checked
  const { identify, inspect, upload } = yield* Attachments.Attachments

  /** Of files whose answers have a key, which spares looking at their bytes for the id. */
  const keyed = new WeakSet<Outgoing.File>()
  const identities = new WeakMap<Outgoing.File, string>()

  const uploaded = Effect.fnUntraced(function* (
    file: Outgoing.File,
    source: Attachments.Source,
    messageId: Ids.MessageId,
    encrypted: boolean
  ) {
    const identity =
      Attachments.isStreamSource(source) || keyed.has(file) ? `message ${messageId}` : identities.get(file)
    const last = yield* Stream.runLast(upload(source, { identity, encrypted }))
    return Option.getOrThrow(Option.flatMap(last, ({ attachment }) => attachment))
  })

  const payloadOf = Effect.fnUntraced(function* (content: Outgoing.Outgoing, file: Outgoing.File) {
    if (content.problem !== undefined) return yield* BlazeError.make(content.problem)
    const { source } = file
    const inspected = isUploaded(source) ? { head: new Uint8Array(0), name: undefined } : yield* inspect(source)
    const payload = yield* Effect.mapError(
      Effect.fromResult(file.describe(yield* factsOf(file, inspected))),
      BlazeError.make
    )
    if (JSON.stringify(payload).length > maximumPayload) {
      return yield* BlazeError.make(
        new BlazeError.InvalidContent({
          field: "what is said of the file",
          expected: `at most ${maximumPayload} characters`
        })
      )
    }
    return payload
  })

  return {
    keyed: (file) => void keyed.add(file),
    identify: Effect.fnUntraced(function* (content, file) {
      const { source } = file
      // Looked at before the bytes are: nothing is read of what cannot be sent.
      const payload = yield* payloadOf(content, file)
      const identity = isUploaded(source) ? (source.identity ?? source.attachmentId) : yield* identify(source)
      if (!isUploaded(source)) identities.set(file, identity)
      return [content.category, JSON.stringify(payload), identity]
    }),
    fill: Effect.fnUntraced(function* (content, file, messageId, encrypted) {
      const payload = yield* payloadOf(content, file)
      const { source } = file
      if (encrypted && encryptionRequired && isUploaded(source) && source.secret === undefined) {
        return yield* BlazeError.make(
          new BlazeError.NotEncrypted({ problem: "its file was uploaded in plain, without { encrypted: true }" })
        )
      }
      const attachment = isUploaded(source) ? source : yield* uploaded(file, source, messageId, encrypted)
      return {
        ...content,
        file: undefined,
        dataBase64: Base64.encode(JSON.stringify({ ...Outgoing.attached(attachment), ...payload }))
      }
    })
  }
})
