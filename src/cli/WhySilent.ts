/**
 * Why a bot says nothing, though everything between it and Mixin is well.
 *
 * Guarantee: nothing is taken from the bot: what waits for it is looked at, and stays.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Digest from "effect/crypto/Digest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import * as BlazeSocket from "../BlazeSocket.ts"
import * as Envelope from "../Envelope.ts"
import type * as Endpoint from "../Endpoint.ts"
import * as Decoding from "../internal/Decoding.ts"
import * as Uuid from "../internal/Uuid.ts"
import type * as Keystore from "../Keystore.ts"
import type * as Words from "./Words.ts"

/**
 * One thing that was looked at.
 *
 * @category models
 * @since 0.1.0
 */
export interface Finding {
  readonly step: string
  readonly isWell: boolean
  readonly text: string
}

/** How long what waits may take to come, and how much later it is looked at again. */
const listing = "2 seconds"
const between = "4 seconds"

/** What waits for the bot. */
const pending = Effect.gen(function* () {
  const socket = yield* BlazeSocket.BlazeSocket
  const wire = yield* socket.open
  const found = new Map<string, Envelope.MessageView>()
  yield* wire.send({ id: crypto.randomUUID(), action: Envelope.Action.listPendingMessages })
  yield* wire.envelopes.pipe(
    Stream.interruptWhen(Effect.sleep(listing)),
    Stream.runForEach(({ action, data }) =>
      Effect.sync(() => {
        const view = action === Envelope.Action.createMessage ? Decoding.messageView(data) : undefined
        if (view !== undefined && Result.isSuccess(view)) found.set(view.success.message_id, view.success)
      })
    )
  )
  return found
}).pipe(Effect.scoped)

/** How long the oldest has waited. */
const ageOf = (views: ReadonlyArray<Envelope.MessageView>, now: number) => {
  const times = views.map(({ created_at }) => Date.parse(created_at ?? "")).filter(Number.isFinite)
  if (times.length === 0) return undefined
  return Duration.format(Duration.seconds(Math.max(0, Math.round((now - Math.min(...times)) / 1000))))
}

const ofPending = (
  words: Words.Words,
  views: ReadonlyArray<Envelope.MessageView>,
  me: Endpoint.Me,
  now: number
): Finding => {
  const bot = [me.full_name, me.identity_number].filter((word) => word).join(", ")
  const isWell = views.length === 0
  const text = isWell ? words.nothingWaits(bot) : words.waits(views.length, bot, ageOf(views, now))
  return { step: "waiting", isWell, text }
}

const ofEncryption = (
  words: Words.Words,
  views: ReadonlyArray<Envelope.MessageView>,
  { key }: Keystore.Keystore
): Finding => {
  const encrypted = views.filter(({ category }) => category?.startsWith("ENCRYPTED_") === true).length
  if (encrypted === 0) return { step: "encryption", isWell: true, text: words.nothingEncrypted }
  const isWell = key._tag === "Ed25519"
  const tell = isWell ? words.encrypted : words.unreadable
  return { step: "encryption", isWell, text: tell(encrypted, views.length) }
}

const ofGroups = Effect.fnUntraced(function* (
  words: Words.Words,
  views: ReadonlyArray<Envelope.MessageView>,
  me: Endpoint.Me
) {
  const digest = yield* Digest.Digest
  let inGroups = 0
  for (const { conversation_id, user_id } of views) {
    if (user_id && conversation_id && (yield* Uuid.fold(digest, me.user_id, user_id)) !== conversation_id) inGroups++
  }
  return { step: "groups", isWell: true, text: words.groups(inGroups, me.identity_number ?? "") }
})

const ofOthers = (
  words: Words.Words,
  before: ReadonlyMap<string, unknown>,
  left: ReadonlyMap<string, unknown>
): Finding => {
  const gone = before.size - left.size
  const text = before.size === 0 ? words.noOthersKnown : gone === 0 ? words.noOthers : words.others(gone, before.size)
  return { step: "others", isWell: true, text }
}

/**
 * Looks, and tells of each thing; gives whether all is well.
 *
 * @category combinators
 * @since 0.1.0
 */
export const examine = Effect.fnUntraced(function* (
  tell: (finding: Finding) => Effect.Effect<void>,
  words: Words.Words,
  keystore: Keystore.Keystore,
  me: Endpoint.Me
) {
  const before = yield* pending
  yield* Effect.sleep(between)
  const after = yield* pending
  // What a bot that runs has taken meanwhile does not wait.
  const left = new Map([...before].filter(([id]) => after.has(id)))
  const views = [...before.values()]
  const findings = [
    ofPending(words, [...left.values()], me, yield* Clock.currentTimeMillis),
    ofEncryption(words, views, keystore),
    yield* ofGroups(words, views, me),
    ofOthers(words, before, left)
  ]
  for (const finding of findings) yield* tell(finding)
  return findings.every(({ isWell }) => isWell)
})
