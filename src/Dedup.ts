/**
 * Was this message handled? The state of every id that is open or was handled.
 *
 * Guarantee: an id has one state: open or handled. A redelivery of an open one is discarded, of a handled one acknowledged
 * again; memory is bounded, and an id whose acknowledgement is unconfirmed is never forgotten.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Ids from "./Ids.ts"

/**
 * What to do with a message that arrived: `New`, run it; `Open`, it is waiting or running already; `Handled`, acknowledge it again.
 *
 * @category models
 * @since 0.1.0
 */
export type Verdict = "New" | "Open" | "Handled"

/**
 * How much is remembered of what was handled, whichever limit comes first: 100 000 ids, 7 days. After 7 days the server itself
 * forgets an unacknowledged message.
 *
 * @category references
 * @since 0.1.0
 */
export const Memory = Context.Reference<{ readonly size: number; readonly age: Duration.Input }>(
  "effect-blaze/Dedup/Memory",
  { defaultValue: () => ({ size: 100_000, age: "7 days" }) }
)

/**
 * @category services
 * @since 0.1.0
 */
export class Dedup extends Context.Service<
  Dedup,
  {
    /** Judges ids in the order of their arrival; the new ones are open from here on. */
    readonly admit: (ids: ReadonlyArray<Ids.MessageId>) => Effect.Effect<ReadonlyArray<Verdict>>
    /** The handler is done with an id; one that is not handled is new again when it comes back. */
    readonly settle: (id: Ids.MessageId, handled: boolean) => void
    /** The server has taken these acknowledgements. */
    readonly confirm: (ids: ReadonlyArray<Ids.MessageId>) => Effect.Effect<void>
  }
>()("effect-blaze/Dedup") {}

/**
 * Remembers in memory; after a restart everything is new.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerMemory: Layer.Layer<Dedup> = Layer.effect(
  Dedup,
  Effect.gen(function* () {
    const memory = yield* Memory
    const age = Duration.toMillis(memory.age)
    const open = new Set<Ids.MessageId>()
    const unconfirmed = new Set<Ids.MessageId>()
    // Insertion order is the order of confirmation, so the oldest come first.
    const confirmed = new Map<Ids.MessageId, number>()

    return Dedup.of({
      admit: (ids) =>
        Effect.sync(() =>
          ids.map((id) => {
            if (open.has(id)) return "Open"
            if (unconfirmed.has(id) || confirmed.has(id)) return "Handled"
            open.add(id)
            return "New"
          })
        ),
      settle: (id, handled) => {
        if (open.delete(id) && handled) unconfirmed.add(id)
      },
      confirm: (ids) =>
        Effect.map(Clock.currentTimeMillis, (now) => {
          for (const id of ids) {
            unconfirmed.delete(id)
            confirmed.delete(id)
            confirmed.set(id, now)
          }
          for (const [id, at] of confirmed) {
            if (confirmed.size <= memory.size && now - at < age) break
            confirmed.delete(id)
          }
        })
    })
  })
)
