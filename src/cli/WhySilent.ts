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

const ago = (views: ReadonlyArray<Envelope.MessageView>, now: number) => {
  const times = views.map(({ created_at }) => Date.parse(created_at ?? "")).filter(Number.isFinite)
  const oldest = Math.min(...times)
  return times.length === 0
    ? ""
    : `, the oldest for ${Duration.format(Duration.seconds(Math.max(0, Math.round((now - oldest) / 1000))))}`
}

const ofPending = (views: ReadonlyArray<Envelope.MessageView>, me: Endpoint.Me, now: number): Finding => {
  const name = `${me.full_name}, ${me.identity_number}`
  return views.length === 0
    ? {
        step: "waiting",
        isWell: true,
        text: `nothing waits for ${name}: what people write to it is taken by a bot that runs, or goes to another bot`
      }
    : {
        step: "waiting",
        isWell: false,
        text: `${views.length} messages wait for ${name}${ago(views, now)}: the bot does not run, or handles them and does not acknowledge, or its handlers fail. Its log says which.`
      }
}

const ofEncryption = (views: ReadonlyArray<Envelope.MessageView>, { key }: Keystore.Keystore): Finding => {
  const encrypted = views.filter(({ category }) => category?.startsWith("ENCRYPTED_") === true).length
  const canRead = key._tag === "Ed25519"
  if (encrypted === 0) {
    return { step: "encryption", isWell: true, text: "nothing of what waits is encrypted" }
  }
  return canRead
    ? {
        step: "encryption",
        isWell: true,
        text: `${encrypted} of ${views.length} are encrypted, which this library reads; a bot of another one may see no text`
      }
    : {
        step: "encryption",
        isWell: false,
        text: `${encrypted} of ${views.length} are encrypted, and nobody reads them with an RSA key: have a new session made in the dashboard, or encryption taken off there.`
      }
}

const ofGroups = Effect.fnUntraced(function* (views: ReadonlyArray<Envelope.MessageView>, me: Endpoint.Me) {
  const digest = yield* Digest.Digest
  let inGroups = 0
  for (const { conversation_id, user_id } of views) {
    if (user_id && conversation_id && (yield* Uuid.fold(digest, me.user_id, user_id)) !== conversation_id) inGroups++
  }
  return {
    step: "groups",
    isWell: true,
    text: `${inGroups} of what waits are from groups, where Mixin gives a bot what begins with @${me.identity_number} or quotes it; whether it may be in groups is set in the dashboard`
  }
})

const ofOthers = (before: ReadonlyMap<string, unknown>, after: ReadonlyMap<string, unknown>): Finding => {
  const gone = [...before.keys()].filter((id) => !after.has(id)).length
  if (before.size === 0) {
    return {
      step: "others",
      isWell: true,
      text: "nothing waits by which it could be seen whether another process takes it"
    }
  }
  return gone === 0
    ? { step: "others", isWell: true, text: "nobody else takes what waits" }
    : {
        step: "others",
        isWell: false,
        text: `another process with this keystore takes messages: ${gone} of ${before.size} that waited are gone. Where it is not meant to run, end it, or have a new session made in the dashboard.`
      }
}

/**
 * Looks, and tells of each thing; gives whether all is well.
 *
 * @category combinators
 * @since 0.1.0
 */
export const examine = Effect.fnUntraced(function* (
  tell: (finding: Finding) => Effect.Effect<void>,
  keystore: Keystore.Keystore,
  me: Endpoint.Me
) {
  const before = yield* pending
  const views = [...before.values()]
  const now = yield* Clock.currentTimeMillis
  const findings = [ofPending(views, me, now), ofEncryption(views, keystore), yield* ofGroups(views, me)]
  for (const finding of findings) yield* tell(finding)
  yield* Effect.sleep(between)
  const others = ofOthers(before, yield* pending)
  yield* tell(others)
  return [...findings, others].every(({ isWell }) => isWell)
})
