/**
 * What must last of the life of an id, in a store of `effect/persistence`: Redis, SQL, a key-value store.
 *
 * Guarantee: what was handled before a crash is not handled again after it, and what was put aside is offered again when it was to be.
 *
 * @since 0.1.0
 */
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Persistable from "effect/persistence/Persistable"
import * as Persistence from "effect/persistence/Persistence"
import type * as BlazeError from "./BlazeError.ts"
import type * as Ids from "./Ids.ts"
import * as Settings from "./Settings.ts"
import * as Store from "./Store.ts"

class Stored extends Persistable.Class<{ payload: { readonly id: Ids.MessageId } }>()("effect-blaze/Store/Stored", {
  primaryKey: ({ id }) => id,
  success: Store.Outcome
}) {}

/**
 * Remembers in a store of `effect/persistence` (Redis, SQL, a key-value store), so that a message that was handled before a crash is
 * not handled again after it, and one that was put aside is offered again when it was to be.
 *
 * **Gotchas**
 *
 * An id is written before its acknowledgement is sent, not before its handler returns: a crash between the two runs the handler
 * again. When the store cannot be reached after several tries, that is logged, and a message counts as new. Putting a message aside waits
 * for its write, so while the store does not answer a conversation whose handler fails waits for about a quarter of a minute. It has no
 * transactions and no claims: use it for one process.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: {
  /** Tells the bots in one store apart. */
  readonly storeId: string
}): Layer.Layer<Store.Store, BlazeError.BlazeError, Persistence.Persistence> =>
  Layer.effect(
    Store.Store,
    Effect.gen(function* () {
      const { rememberedFor } = yield* Settings.checked
      const persistence = yield* Persistence.Persistence
      const store = yield* persistence.make({ storeId: options.storeId, timeToLive: () => rememberedFor })
      return Store.persevering({
        load: (ids) =>
          Arr.isReadonlyArrayNonEmpty(ids)
            ? Effect.map(store.getMany(ids.map((id) => new Stored({ id }))), (found) =>
                found.map((exit) => (exit !== undefined && Exit.isSuccess(exit) ? exit.value : undefined))
              )
            : Effect.succeed([]),
        commit: (changes) =>
          Arr.isReadonlyArrayNonEmpty(changes)
            ? Effect.as(
                store.setMany(changes.map(({ id, outcome }) => [new Stored({ id }), Exit.succeed(outcome)] as const)),
                Store.committed(changes)
              )
            : Effect.succeed([]),
        confirm: () => Effect.void
      })
    })
  )
