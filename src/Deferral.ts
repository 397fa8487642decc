/**
 * Messages that are put aside: their handler failed, and they are offered again.
 *
 * Guarantee: a message that is put aside is offered again by its schedule for as long as the process lives; what is kept is bounded in
 * number and bytes, and what finds no room is left to the server, which lists it with the next connection.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import type * as Ids from "./Ids.ts"
import type * as Message from "./Message.ts"

/**
 * When deferred messages are offered again (after 30 seconds, doubled up to an hour, for ever), and how many are kept: 10 000 of them, 16 MiB.
 *
 * @category references
 * @since 0.1.0
 */
export const Policy = Context.Reference<{
  readonly schedule: Schedule.Schedule<unknown>
  readonly messages: number
  readonly bytes: number
}>("effect-blaze/Deferral/Policy", {
  defaultValue: () => ({
    schedule: Schedule.min([Schedule.exponential("30 seconds"), Schedule.spaced("1 hour")]),
    messages: 10_000,
    bytes: 16 * 1024 * 1024
  })
})

type Step = Effect.Success<ReturnType<typeof Schedule.toStep<unknown, unknown, never, never>>>

interface Entry {
  readonly step: Step
  message: Message.Message | undefined
}

/**
 * @category models
 * @since 0.1.0
 */
export interface Deferral {
  /** Puts a message aside; false when there is no room for it, or its schedule has come to its end. */
  readonly defer: (message: Message.Message) => Effect.Effect<boolean>
  /** The message is done with. */
  readonly forget: (id: Ids.MessageId) => void
  /** How many are put aside now. */
  readonly size: () => number
}

/**
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* (
  offer: (message: Message.Message) => void
): Effect.fn.Return<Deferral, never, Scope.Scope> {
  const policy = yield* Policy
  const scope = yield* Effect.scope
  // An id stays, with the place in its schedule, from its first deferral until it is done with or finds no room.
  const entries = new Map<Ids.MessageId, Entry>()
  let count = 0
  let bytes = 0

  const wakeUp = (entry: Entry) =>
    Effect.sync(() => {
      const { message } = entry
      if (message === undefined) return
      entry.message = undefined
      count--
      bytes -= message.size
      offer(message)
    })

  return {
    defer: Effect.fnUntraced(function* (message) {
      if (count >= policy.messages || entries.size >= 2 * policy.messages || bytes + message.size > policy.bytes) {
        entries.delete(message.id)
        return false
      }
      const entry: Entry = entries.get(message.id) ?? {
        step: yield* Schedule.toStep(policy.schedule),
        message: undefined
      }
      const next = yield* Effect.option(entry.step(yield* Clock.currentTimeMillis, undefined))
      if (Option.isNone(next)) {
        entries.delete(message.id)
        return false
      }
      entries.set(message.id, entry)
      entry.message = message
      count++
      bytes += message.size
      const [, delay] = next.value
      yield* Effect.forkIn(Effect.delay(wakeUp(entry), Duration.fromInputUnsafe(delay)), scope)
      return true
    }),
    forget: (id) => void entries.delete(id),
    size: () => count
  }
})
