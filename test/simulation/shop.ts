// A small shop, and what people do wrong when they write one: each bug is a line or two.
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import * as Blaze from "effect-blaze/Blaze"
import * as Bot from "effect-blaze/Bot"
import * as Delivery from "effect-blaze/Delivery"
import type * as Ids from "effect-blaze/Ids"
import * as Keyed from "effect-blaze/Keyed"
import * as Message from "effect-blaze/Message"
import * as Outgoing from "effect-blaze/Outgoing"
import type { Expectation, Simulation } from "effect-blaze/testing"

/** What outlives the process. */
export class Disk extends Context.Service<
  Disk,
  {
    readonly orders: Map<string, Set<string>>
    readonly paid: Map<string, number>
    readonly notes: Map<string, Map<string, string>>
    readonly reminders: Map<string, { readonly conversation: Ids.ConversationId; readonly at: number }>
    readonly totals: { orders: number }
  }
>()("test/simulation/Disk") {
  static readonly layer = Layer.sync(Disk, () => ({
    orders: new Map(),
    paid: new Map(),
    notes: new Map(),
    reminders: new Map(),
    totals: { orders: 0 }
  }))
}

/** Each bug, with what may find it: which of them comes first is a matter of the seed. */
export const bugs = {
  "sends without an id": ["no answer twice"],
  "tells the time without a key": ["no answer twice", "the same in any weather"],
  "remembers who asked in a variable": ["alone as among others", "the same in any weather"],
  "counts with a pause in between": ["alone as among others", "nobody pays twice"],
  "counts an order in every run": ["the same in any weather"],
  "forgets to answer a word": ["every message answered"],
  "drops a word in the stream": ["every message answered"],
  "keeps a timer in memory": ["the same in any weather"],
  "hangs at a word": ["every message answered"],
  "dies of a long text": ["every message answered"],
  "looks through all that was ever said": ["bounded work"],
  "has a button with a typo": ["no button leads nowhere"],
  "answers from a fiber of its own": ["order kept"],
  "charges for every tap": ["nobody pays twice"],
  "repeats all reminders after a restart": ["the same in any weather"],
  "answers where somebody spoke last": ["alone as among others", "no answer twice", "the same in any weather"],
  "shows a list without an end": ["every message answered"],
  "does not release a lock": ["every message answered"],
  "counts in memory": ["the same in any weather"],
  "answers after it has deferred": ["no answer twice"]
} as const satisfies Record<string, ReadonlyArray<Expectation.Name | "nobody pays twice">>

export type Bug = keyof typeof bugs

export const words = [
  "menu",
  "prices",
  "refund",
  "order",
  "pay",
  "remind me",
  "note",
  "notes",
  "visits",
  "rush",
  "hello"
]

const textOf = ({ message }: Delivery.Delivery) => (Message.isText(message) ? message.text : "")

const buttons = (...items: ReadonlyArray<readonly [label: string, action: string]>): Outgoing.Outgoing => ({
  ...Outgoing.text(JSON.stringify(items.map(([label, action]) => ({ label, color: "#1DA1F2", action })))),
  category: "APP_BUTTON_GROUP"
})

const shorten = (text: string) => text.slice(0, 10)

const makeHandler = (bug: Bug | undefined) =>
  Effect.gen(function* () {
    const disk = yield* Disk
    const blaze = yield* Blaze.Blaze
    const has = (name: Bug) => bug === name
    // The memory of this process.
    const everything: Array<string> = []
    const visits = new Map<string, number>()
    const lock = yield* Semaphore.make(1)
    const deferred = new Set<string>()
    let asking = ""
    let place = ""

    const remind = Effect.fnUntraced(function* (id: string) {
      const { at, conversation } = disk.reminders.get(id)!
      const now = yield* Clock.currentTimeMillis
      yield* Effect.sleep(Math.max(0, at - now))
      yield* Effect.ignore(blaze.send({ conversation }, "time is up", { id: id as Ids.MessageId }))
      disk.reminders.delete(id)
    })
    if (has("repeats all reminders after a restart")) {
      for (const { conversation } of disk.reminders.values())
        yield* Effect.ignore(blaze.send({ conversation }, "time is up"))
    } else for (const id of disk.reminders.keys()) yield* Effect.forkScoped(remind(id))
    const scope = yield* Effect.scope

    return Effect.fnUntraced(function* (delivery: Delivery.Delivery): Effect.fn.Return<unknown, unknown> {
      const said = textOf(delivery).trim().toLowerCase()
      const { conversationId, id, senderId } = delivery.message
      // A group orders together: what people say elsewhere may be handled before it or after.
      const customer = conversationId
      if (has("looks through all that was ever said")) {
        everything.push(said)
        yield* Effect.forEach(everything, () => Effect.void, { discard: true })
      }
      if (has("hangs at a word") && said === "__proto__") return yield* Effect.never
      if (has("dies of a long text") && said.length > 4096) return yield* Effect.die(new Error("too long"))
      switch (said) {
        case "menu":
          return yield* delivery.reply(
            buttons(
              ["Order", "input:order"],
              ["Pay", "input:pay"],
              ["Prices", has("has a button with a typo") ? "input:pricse" : "input:prices"]
            )
          )
        case "prices":
          return yield* delivery.reply("one coffee costs 3")
        case "refund":
          if (has("forgets to answer a word")) return
          return yield* delivery.reply("your money is on its way")
        case "order": {
          const orders = disk.orders.get(customer) ?? new Set()
          disk.orders.set(customer, orders.add(has("counts an order in every run") ? `${id} ${orders.size}` : id))
          if (has("counts with a pause in between")) {
            const before = disk.totals.orders
            yield* Effect.sleep("50 millis")
            disk.totals.orders = before + 1
            return yield* delivery.reply(`order number ${before + 1}`, { key: "order" })
          }
          return yield* delivery.reply(`that makes ${orders.size}`, { key: "order" })
        }
        case "pay": {
          const due = disk.orders.get(customer)?.size ?? 0
          const paid = disk.paid.get(customer) ?? 0
          if (has("charges for every tap") && due > 0) return yield* delivery.reply("charged 3", { key: "pay" })
          const known = disk.paid.has(`for ${id}`)
          if (!known && paid >= due) return yield* delivery.reply("nothing to pay", { key: "pay" })
          if (!known) disk.paid.set(customer, paid + 1).set(`for ${id}`, 1)
          return yield* delivery.reply("charged 3", { key: "pay" })
        }
        case "remind me": {
          const at = (yield* Clock.currentTimeMillis) + 600_000
          if (has("keeps a timer in memory")) {
            yield* Effect.forkIn(Effect.delay(Effect.ignore(delivery.reply("time is up")), "10 minutes"), scope)
          } else {
            const reminder = yield* delivery.derive("reminder")
            if (!disk.reminders.has(reminder)) {
              disk.reminders.set(reminder, { conversation: conversationId, at })
              if (!has("repeats all reminders after a restart")) yield* Effect.forkIn(remind(reminder), scope)
            }
          }
          return yield* delivery.reply("I shall")
        }
        case "note":
          return yield* delivery.reply("noted")
        case "notes": {
          const notes = [...(disk.notes.get(customer)?.values() ?? [])]
          const shown = has("shows a list without an end") ? notes : notes.slice(-3).map(shorten)
          return yield* delivery.reply(`you said: ${shown.join(", ")}`, { key: "notes" })
        }
        case "visits": {
          if (!has("counts in memory")) return yield* delivery.reply("I do not count")
          const visit = (visits.get(customer) ?? 0) + 1
          visits.set(customer, visit)
          return yield* delivery.reply(`visit ${visit}`, { key: "visits" })
        }
        case "rush":
          if (has("answers after it has deferred") && !deferred.has(id)) {
            deferred.add(id)
            yield* Effect.forkIn(Effect.delay(Effect.ignore(delivery.reply("on its way")), "5 seconds"), scope)
            return Delivery.Defer
          }
          return yield* delivery.reply("done")
      }
      disk.notes.set(customer, (disk.notes.get(customer) ?? new Map<string, string>()).set(id, said))
      const answer = `what is ${shorten(said)}?`
      if (has("sends without an id")) {
        yield* blaze.send({ conversation: conversationId }, answer)
        return yield* delivery.reply("say menu")
      }
      if (has("tells the time without a key")) {
        return yield* delivery.reply(`${answer} It is ${yield* Clock.currentTimeMillis}.`)
      }
      if (has("remembers who asked in a variable")) {
        asking = senderId
        yield* Effect.sleep("200 millis")
        return yield* delivery.reply(`${answer} ${asking.slice(0, 4)}`, { key: "ask" })
      }
      if (has("answers where somebody spoke last")) {
        place = conversationId
        yield* Effect.sleep("200 millis")
        return yield* delivery.send({ conversation: place as Ids.ConversationId }, answer)
      }
      if (has("answers from a fiber of its own") && said.length % 2 === 0) {
        return yield* Effect.forkIn(Effect.delay(Effect.ignore(delivery.reply(answer)), "3 seconds"), scope)
      }
      if (has("does not release a lock")) {
        yield* lock.take(1)
        if (said.startsWith("-")) return yield* Effect.fail("a negative number")
        yield* delivery.reply(answer)
        return yield* lock.release(1)
      }
      return yield* delivery.reply(answer)
    })
  })

const dropping = (handler: (delivery: Delivery.Delivery) => Effect.Effect<unknown, unknown>) =>
  Effect.gen(function* () {
    const { deliveries } = yield* Blaze.Blaze
    yield* deliveries.pipe(
      Stream.filter((delivery) => textOf(delivery) !== "refund"),
      Keyed.mapEffect(
        Delivery.handle((delivery) => Effect.ignore(handler(delivery))),
        {
          key: ({ message }) => message.conversationId,
          concurrency: 64
        }
      ),
      Stream.runDrain,
      Effect.forkScoped
    )
  })

/** The shop, with a bug or without one. */
export const shop = (bug?: Bug): Layer.Layer<never, unknown, Blaze.Blaze | Disk> =>
  Layer.unwrap(
    Effect.map(makeHandler(bug), (handler) =>
      bug === "drops a word in the stream" ? Layer.effectDiscard(dropping(handler)) : Bot.layer(handler)
    )
  )

/** What the shop's owner expects besides. */
export const expectations = {
  "nobody pays twice": ({ heard, said }: Simulation.Outcome) => {
    const asked = new Map(said.map(({ id, where }) => [id, where]))
    const answers = new Map(heard.map((message) => [message.id, message]))
    const balance = new Map<string, number>()
    for (const {
      answers: [answered],
      text
    } of answers.values()) {
      const customer = answered === undefined ? undefined : asked.get(answered.id)
      const change = /^(that makes|order number)/.test(text) ? 1 : text.startsWith("charged") ? -1 : 0
      if (customer === undefined || change === 0) continue
      balance.set(customer, (balance.get(customer) ?? 0) + change)
      if (balance.get(customer)! < 0) return `${customer} has paid for more than was ordered.`
    }
    return undefined
  }
}
