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
import * as Mailbox from "../../internal/Mailbox.ts"
import type * as Meter from "../../internal/Meter.ts"
import * as Signal from "../../internal/Signal.ts"
import * as Message from "../../Message.ts"
import * as Wire from "./Wire.ts"

/**
 * @category services
 * @since 0.1.0
 */
export class Desk extends Context.Service<
  Desk,
  {
    /** Takes a message in, and waits for what becomes of it. With a shard, this waits for its end too: `awaitEnds`. */
    readonly handle: (view: Envelope.MessageView, shard?: string) => Effect.Effect<Wire.Answer>
    /** The same, of what another runner has written. */
    readonly handleText: (text: string) => Effect.Effect<Wire.Answer>
    /** How many conversations have had a message within the last minute, or two. */
    readonly conversations: () => number
    /** Waits until all have ended that were taken in with a shard, whoever waits for them. */
    readonly awaitEnds: (shard: string) => Effect.Effect<void>
    /** Says what became of one, to whoever waits for it. */
    readonly answer: (id: Ids.MessageId, answer: Wire.Answer) => void
    readonly inbox: Inbox.Inbox
    /** Waits for ids that nobody waits for any more, or that are given back: they are somebody else's, where no handler has begun with them. */
    readonly withdrawn: Effect.Effect<ReadonlyArray<Ids.MessageId>>
    /** Takes in nothing more, and gives back what no handler has begun with. */
    readonly close: Effect.Effect<void>
    /** Gives back all that is left. */
    readonly clear: Effect.Effect<void>
  }
>()("effect-blaze/cluster/Desk") {}

const unreadable: Wire.Answer = {
  _tag: "GivenUp",
  reason: "another runner has given it in a form that this one cannot read"
}

const parse = Schema.decodeUnknownResult(Schema.fromJsonString(Schema.Unknown))

interface Waiting {
  count: number
  readonly answer: Deferred.Deferred<Wire.Answer>
}

/** Who waits for what becomes of which message: several, if one of them came again. `left` is told of one that nobody waits for any more. */
const makeWaiting = (left: (id: Ids.MessageId) => void) => {
  const waiting = new Map<Ids.MessageId, Waiting>()
  const leave = (id: Ids.MessageId, entry: Waiting) => {
    if (--entry.count > 0 || waiting.get(id) !== entry) return
    waiting.delete(id)
    left(id)
  }
  return {
    ids: () => [...waiting.keys()],
    answer: (id: Ids.MessageId, answer: Wire.Answer) => {
      const entry = waiting.get(id)
      if (entry === undefined) return
      waiting.delete(id)
      Deferred.doneUnsafe(entry.answer, Exit.succeed(answer))
    },
    /** Waits; `begin` is for the first who does. */
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

/** What was taken in with which shard, and has not ended. */
const makeOfShards = () => {
  const shards = new Map<Ids.MessageId, string>()
  const counts = new Map<string, number>()
  const signal = Signal.make()
  return {
    begin: (id: Ids.MessageId, shard: string) => {
      if (shards.has(id)) return
      shards.set(id, shard)
      counts.set(shard, (counts.get(shard) ?? 0) + 1)
    },
    end: (id: Ids.MessageId) => {
      const shard = shards.get(id)
      if (shard === undefined) return
      shards.delete(id)
      const left = counts.get(shard)! - 1
      if (left > 0) counts.set(shard, left)
      else {
        counts.delete(shard)
        signal.notify()
      }
    },
    awaitEnds: (shard: string) => signal.until(() => !counts.has(shard))
  }
}

/** How long a message may wait for the program to take it, before that is told, once in a while. */
const patience = "10 seconds"
const warningPeriod = "1 minute"

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
    const decoder = yield* Base64.Decoder
    const withdrawals = Mailbox.make<Ids.MessageId, never>()
    const withdraw = (id: Ids.MessageId) => {
      withdrawals.put(id)
      withdrawals.wake()
    }
    const ofShards = makeOfShards()
    const waiting = makeWaiting((id) => {
      if (inbox.remove(id)) ofShards.end(id)
      else withdraw(id)
    })
    const answer = (id: Ids.MessageId, said: Wire.Answer) => {
      ofShards.end(id)
      waiting.answer(id, said)
    }
    const conversations = makeLately<Ids.ConversationId>(yield* Elapsed.now)
    // Whoever only sends needs no cluster, and whoever has ended keeps conversations from the others.
    yield* Effect.forkScoped(
      Effect.forever(
        Effect.gen(function* () {
          yield* inbox.filled
          const [first] = inbox.waiting()
          yield* Effect.sleep(patience)
          if (first !== undefined && inbox.waiting()[0] === first) {
            yield* Effect.logWarning(
              `${inbox.waiting().length} messages wait on this runner, whose program takes none of them: it has conversations as every other, and has to run a bot. What only sends does not belong into the cluster.`
            )
            yield* Effect.sleep(warningPeriod)
          }
        })
      )
    )
    let isClosed = false
    const handle = (view: Envelope.MessageView, shard?: string) =>
      Effect.suspend(() => {
        if (isClosed) return Effect.succeed(Wire.notHere)
        const message = Message.fromView(view, decoder)
        if (shard !== undefined) ofShards.begin(message.id, shard)
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
      answer,
      awaitEnds: ofShards.awaitEnds,
      withdrawn: withdrawals.pull,
      close: Effect.sync(() => {
        if (isClosed) return
        isClosed = true
        for (const { id } of inbox.take()) answer(id, Wire.notHere)
        for (const id of waiting.ids()) withdraw(id)
      }),
      clear: Effect.sync(() => {
        isClosed = true
        for (const id of waiting.ids()) answer(id, Wire.notHere)
      })
    })
  })
)
