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
import type * as Envelope from "../../Envelope.ts"
import * as Decoding from "../../internal/Decoding.ts"
import * as Elapsed from "../../internal/Elapsed.ts"
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
    readonly handle: (view: Envelope.MessageView) => Effect.Effect<Wire.Answer>
    /** The same, of what another runner has written. */
    readonly handleText: (text: string) => Effect.Effect<Wire.Answer>
    /** How many conversations have had a message within the last minute, or two. */
    readonly conversations: () => number
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

/** How long is lately, in milliseconds: so long, and up to twice. */
const lately = 60_000

/** How many different ones there were lately. */
const makeLately = <A>(now: () => number) => {
  let before = new Set<A>()
  let current = new Set<A>()
  let since = now()
  const pass = () => {
    const passed = now() - since
    if (passed < lately) return
    before = passed < 2 * lately ? current : new Set()
    current = new Set()
    since = now()
  }
  return {
    add: (one: A) => {
      pass()
      current.add(one)
    },
    size: () => {
      pass()
      let size = before.size
      for (const one of current) if (!before.has(one)) size++
      return size
    }
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
    const conversations = makeLately<Ids.ConversationId>(yield* Elapsed.now)
    let isClosed = false
    const handle = (view: Envelope.MessageView) =>
      Effect.suspend(() => {
        if (isClosed) return Effect.succeed(notHere)
        const message = Message.fromView(view, decode)
        conversations.add(message.conversationId)
        return waiting.join(message.id, () => inbox.offer([message], "last"))
      })
    return Desk.of({
      inbox,
      handle,
      handleText: (text) =>
        Effect.suspend(() => {
          const view = Result.flatMap(parse(text), Decoding.messageView)
          return Result.isFailure(view) ? Effect.succeed(unreadable) : handle(view.success)
        }),
      conversations: conversations.size,
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
