// A ledger by itself: with parts that do what a test says, and tell what was asked of them.
import { Context, Effect, Layer, Stream, SubscriptionRef } from "effect"
import { type BlazeError, type Ids, type Message, Settings, Signer, Store } from "effect-blaze"
import * as Acknowledgements from "../src/internal/Acknowledgements.ts"
import type * as Aside from "../src/internal/Aside.ts"
import * as Connection from "../src/internal/Connection.ts"
import * as Inbox from "../src/internal/Inbox.ts"
import * as Ledger from "../src/internal/Ledger.ts"
import * as Meter from "../src/internal/Meter.ts"
import * as States from "../src/internal/States.ts"
import { botOfStores } from "./support.ts"

interface Parts {
  /** Where messages come from: an inbox of its own. */
  readonly inbox?: Inbox.Inbox
  /** What is taken back: nothing is. */
  readonly withdrawn?: Effect.Effect<ReadonlyArray<Ids.MessageId>>
  /** What an earlier process has stored: nothing. */
  readonly load?: Store.Operations<never>["load"]
  /** In place of what states over such a store say. */
  readonly states?: Partial<States.States["Service"]>
  /** Opens what is sealed: it stays as it is. */
  readonly read?: (message: Message.Message) => Effect.Effect<Message.Message>
  /** When there is room for an acknowledgement: at once. */
  readonly room?: Effect.Effect<void>
  /** In place of what does nothing. */
  readonly aside?: Partial<Aside.Aside>
  readonly settings?: Partial<Settings.Settings>
}

/** A connection over which nothing is sent, with an inbox. */
export const connectionWith = (inbox: Inbox.Inbox, parts: Partial<Connection.Connection["Service"]>) =>
  Effect.map(
    SubscriptionRef.make<Connection.Status>(Connection.Status.Connecting({ attempt: 1 })),
    (status): Connection.Connection["Service"] => {
      const nothing = Effect.die("not asked for")
      return {
        session: nothing,
        sessionNow: nothing,
        inbox,
        receipts: {
          stream: Stream.die("not asked for"),
          expect: () => ({ arrived: nothing, end: () => {} }),
          listen: () => nothing
        },
        status,
        withdrawn: Effect.never,
        tell: () => Effect.void,
        stop: () => nothing,
        ...parts
      }
    }
  )

export const ledgerWith = Effect.fnUntraced(function* (parts: Parts) {
  const meter = Context.get(yield* Layer.build(Layer.fresh(Meter.layer(botOfStores))), Meter.Meter)
  const inbox = parts.inbox ?? (yield* Effect.provideService(Inbox.make, Meter.Meter, meter))
  const remembered = yield* States.make.pipe(
    Effect.provideService(
      Store.Store,
      Store.persevering({
        load: parts.load ?? (() => Effect.succeed([])),
        commit: () => Effect.succeed([]),
        confirm: () => Effect.void
      })
    )
  )
  const states = { ...remembered, ...parts.states }
  const happened = {
    acked: new Array<Ids.MessageId>(),
    became: new Array<string>(),
    forgotten: new Array<Ids.MessageId>(),
    givenBack: new Array<Ids.MessageId>(),
    measured: new Array<string>(),
    stopped: new Array<BlazeError.BlazeError>()
  }
  const ledger = yield* Ledger.make(parts.read ?? Effect.succeed, () =>
    Effect.succeed({
      defer: () => Effect.void,
      resume: () => Effect.void,
      giveUp: () => Effect.void,
      withdraw: (id) => void happened.givenBack.push(id),
      givenUp: { count: Effect.void, takesBack: () => false },
      forget: (id) => void happened.forgotten.push(id),
      waiting: () => undefined,
      knows: () => false,
      size: () => 0,
      ...parts.aside
    })
  ).pipe(
    Effect.provideService(States.States, {
      ...states,
      become: (id, state) => {
        happened.became.push(`${id} ${state}`)
        states.become(id, state)
      }
    }),
    Effect.provideServiceEffect(
      Connection.Connection,
      connectionWith(inbox, {
        withdrawn: parts.withdrawn ?? Effect.never,
        stop: (error) => Effect.sync(() => void happened.stopped.push(error))
      })
    ),
    Effect.provideService(Acknowledgements.Acknowledgements, {
      offer: (id) => void happened.acked.push(id),
      room: parts.room ?? Effect.void,
      flush: Effect.void
    }),
    Effect.provideService(Meter.Meter, {
      ...meter,
      measure: ({ id }, value, label = "") =>
        void happened.measured.push(`${id.replace("blaze_", "")}${label && ` ${label}`} ${value}`)
    }),
    Effect.provideService(Signer.Signer, { userId: botOfStores, token: () => Effect.die("nothing is signed") }),
    Effect.provide(Settings.layer(parts.settings ?? {}))
  )
  return { ...ledger, ...happened, inbox, states }
})
