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
import * as Picture from "./Picture.ts"

/**
 * @category models
 * @since 0.1.0
 */
export interface Uploads {
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

const factsOf = Effect.fnUntraced(function* (
  { kind, name: given }: Outgoing.File,
  { head, name = given }: Pick<Attachments.Inspected, "head" | "name">
) {
  const picture = kind === "Image" && head.length > 0 ? yield* Picture.read(head) : undefined
  const type = picture?.type ?? name?.split(".").at(-1)
  return {
    name: given ?? name,
    mimeType: type === undefined ? undefined : lookup(type),
    width: picture?.width,
    height: picture?.height
  }
})

/**
 * @category constructors
 * @since 0.1.0
 */
export const make: Effect.Effect<Uploads, never, Attachments.Attachments> = Effect.gen(function* () {
  const { identify, inspect, upload } = yield* Attachments.Attachments

  const uploaded = Effect.fnUntraced(function* (
    source: Attachments.Source,
    messageId: Ids.MessageId,
    encrypted: boolean
  ) {
    const isStream = typeof source === "object" && !(source instanceof Uint8Array)
    const identity = isStream ? `message ${messageId}` : yield* identify(source)
    const last = yield* Stream.runLast(upload(source, { identity, encrypted }))
    return Option.getOrThrow(Option.flatMap(last, ({ attachment }) => attachment))
  })

  return {
    identify: (content, { name = "", source }) =>
      Effect.map(isUploaded(source) ? Effect.succeed(source.attachmentId) : identify(source), (identity) => [
        content.category,
        name,
        identity
      ]),
    fill: Effect.fnUntraced(function* (content, file, messageId, encrypted) {
      if (content.problem !== undefined) return yield* BlazeError.make(content.problem)
      const { source } = file
      const inspected = isUploaded(source) ? { head: new Uint8Array(0), name: undefined } : yield* inspect(source)
      const facts = yield* factsOf(file, inspected)
      const payload = yield* Effect.mapError(Effect.fromResult(file.describe(facts)), BlazeError.make)
      const attachment = isUploaded(source) ? source : yield* uploaded(source, messageId, encrypted)
      return {
        ...content,
        file: undefined,
        dataBase64: Base64.encode(JSON.stringify({ ...Outgoing.attached(attachment), ...payload }))
      }
    })
  }
})
