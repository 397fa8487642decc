// What docs/guarantees.md calls "Removed", as far as a person or the server can see it: each is taken out of a copy of the sources, and
// a simulation has to notice within 25 seeds. The others are named there with the test that notices them.

/** One thing taken out: the first text becomes the second one, in a file of `src`. */
export interface Removal {
  readonly what: string
  readonly file: string
  readonly from: string
  readonly to: string
}

const removal = (what: string, file: string, from: string, to: string): Removal => ({ what, file, from, to })

export const removals: ReadonlyArray<Removal> = [
  removal(
    "1: whatever the handler gives is acknowledged",
    "internal/Handling.ts",
    `if (outcome === "Defer") return delivery.#actions.defer(delivery.#open, afterOf(exit.value))`,
    ""
  ),
  removal("1: a new consumer does not get what the old one left", "internal/Front.ts", "ledger.takeOver()", ""),
  removal("1: a final failure is tried again", "Bot.ts", "if (!Delivery.isFinal(cause)) {", "if (handling) {"),
  removal(
    "1: what is given up is forgotten",
    "internal/Deferral.ts",
    `states.become(id, "GivenUp")`,
    `states.become(id, "Forgotten")`
  ),
  removal(
    "1: what is deferred is never offered again",
    "internal/Deferral.ts",
    "Effect.sync(() => on.offer(message))",
    "Effect.void"
  ),
  removal("2: every id is new", "internal/States.ts", `state !== undefined && state !== "Due"`, `state === "GivenUp"`),
  removal(
    "2: what is being handled is taken over",
    "internal/Outstanding.ts",
    "entry.value !== undefined && entry.holders === 0 &&",
    "entry.value !== undefined &&"
  ),
  removal(
    "2: what went down a stream that goes on is taken over",
    "internal/Front.ts",
    'consumer.fiber?.pollUnsafe() === undefined ? "AtWork" : "Ended"',
    '"Ended"'
  ),
  removal(
    "3: an answer has a random id",
    "internal/Sending.ts",
    `derive(["answer", message.id, conversationId, ...said])`,
    "newId"
  ),
  removal("4: every element is its own key", "internal/Lanes.ts", "laneOf(key(element))", "laneOf({})"),
  removal(
    "5: a batch is tried once",
    "internal/Acknowledgements.ts",
    "if (isHopeless(error) || last) return yield* error",
    "return yield* error"
  ),
  removal(
    "6: a 401 is not fatal",
    "BlazeError.ts",
    "get isFatal(): boolean {",
    "get isFatal(): boolean {\n    return false"
  ),
  removal(
    "7: a reader pauses while a request is out",
    "internal/Inbox.ts",
    "behind.isAwaited() || !isFull()",
    "!isFull()"
  ),
  removal("7: what finds no room in the overflow is not asked for", "internal/Inbox.ts", "        left.refuse()\n", ""),
  removal(
    "7: nothing is listed again",
    "internal/Session.ts",
    "Effect.andThen(inbox.refused, list(0))",
    "Effect.never"
  ),
  removal(
    "8: a silent peer is never noticed",
    "BlazeSocket.ts",
    "while (missed < missedPeriods)",
    "while (missed >= 0)"
  ),
  removal(
    "9: it goes on after a bad frame",
    "internal/Session.ts",
    "if (!passOverBadFrames) return decoded.failure",
    ""
  ),
  removal(
    "12: what has passed is what the clock says",
    "internal/Elapsed.ts",
    "Number(clock.monotonicTimeNanosUnsafe()) / 1e6",
    "clock.currentTimeMillisUnsafe()"
  )
]
