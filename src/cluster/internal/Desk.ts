/**
 * Where a runner takes messages in, and says what became of them.
 *
 * Guarantee: whoever has given a message here learns once what became of it; a runner that leaves says so of all that it has not begun with,
 * and takes in nothing more.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Base64 from "../../Base64.ts"
import type * as BlazeError from "../../BlazeError.ts"
import type * as Ids from "../../Ids.ts"
import * as Decoding from "../../internal/Decoding.ts"
import * as Inbox from "../../internal/Inbox.ts"
import type * as Meter from "../../internal/Meter.ts"
import * as Message from "../../Message.ts"
import type * as Wire from "./Wire.ts"

/**
 * @category services
 * @since 0.1.0
 */
export class Desk extends Context.Service<
  Desk,
  {
    /** Takes a message in, and waits for what becomes of it. */
    readonly handle: (view: string) => Effect.Effect<Wire.Answer>
    /** Says what became of one, to whoever waits for it. */
    readonly answer: (id: Ids.MessageId, answer: Wire.Answer) => void
    readonly inbox: Inbox.Inbox
    /** Takes in nothing more, and gives back what no handler has been given. */
    readonly close: Effect.Effect<void>
    /** Gives back all that is left. */
    readonly clear: Effect.Effect<void>
  }
>()("effect-blaze/cluster/Desk") {}

const notHere: Wire.Answer = { _tag: "NotHere" }
const unreadable: Wire.Answer = {
  _tag: "GivenUp",
  reason: "another runner has given it in a form that this one cannot read"
}

const parse = Schema.decodeUnknownResult(Schema.fromJsonString(Schema.Unknown))

interface Waiting {
  count: number
  readonly answer: Deferred.Deferred<Wire.Answer>
}

/** Who waits for what becomes of which message: several, if one of them came again. */
const makeWaiting = () => {
  const waiting = new Map<Ids.MessageId, Waiting>()
  const leave = (id: Ids.MessageId, entry: Waiting) => {
    if (--entry.count === 0 && waiting.get(id) === entry) waiting.delete(id)
  }
  return {
    ids: () => [...waiting.keys()],
    answer: (id: Ids.MessageId, answer: Wire.Answer) => {
      const entry = waiting.get(id)
      if (entry === undefined) return
      waiting.delete(id)
      Deferred.doneUnsafe(entry.answer, Exit.succeed(answer))
    },
    /** Waits, and says whether nobody did before. */
    join: (id: Ids.MessageId, begin: () => void) =>
      Effect.suspend(() => {
        const before = waiting.get(id)
        const entry = before ?? { count: 0, answer: Deferred.makeUnsafe<Wire.Answer>() }
        entry.count++
        if (before === undefined) {
          waiting.set(id, entry)
          begin()
        }
        return Effect.ensuring(
          Deferred.await(entry.answer),
          Effect.sync(() => leave(id, entry))
        )
      })
  }
}

/**
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<Desk, BlazeError.BlazeError, Meter.Meter> = Layer.effect(
  Desk,
  Effect.gen(function* () {
    const inbox = yield* Inbox.make
    const decode = yield* Base64.Decoder
    const waiting = makeWaiting()
    let isClosed = false
    return Desk.of({
      inbox,
      handle: (text) =>
        Effect.suspend(() => {
          if (isClosed) return Effect.succeed(notHere)
          const view = Result.flatMap(parse(text), Decoding.messageView)
          if (Result.isFailure(view)) return Effect.succeed(unreadable)
          const message = Message.fromView(view.success, decode)
          return waiting.join(message.id, () => inbox.offer([message], "last"))
        }),
      answer: waiting.answer,
      close: Effect.sync(() => {
        isClosed = true
        for (const { id } of inbox.take()) waiting.answer(id, notHere)
      }),
      clear: Effect.sync(() => {
        isClosed = true
        for (const id of waiting.ids()) waiting.answer(id, notHere)
      })
    })
  })
)
