// Who is announced to, and what comes of it.
import { Effect, Stream } from "effect"
import type { Broadcast } from "effect-blaze"
import { BlazeServer, BlazeTest } from "effect-blaze/testing"

/** People who have all met the bot. */
export const crowd = Effect.fnUntraced(function* (size: number) {
  const server = yield* BlazeServer.BlazeServer
  const bot = yield* BlazeTest.Account
  const people = yield* Effect.forEach(Array.from({ length: size }), (_, n) => server.user(bot, `person ${n}`))
  for (const person of people) yield* person.addBot
  return { server, bot, people, users: Stream.fromIterable(people.map(({ userId }) => userId)) }
})

/** How many there are of each. */
export const tags = (outcomes: ReadonlyArray<Broadcast.Outcome>) =>
  outcomes.reduce<Record<string, number>>((counts, { _tag }) => ({ ...counts, [_tag]: (counts[_tag] ?? 0) + 1 }), {})
