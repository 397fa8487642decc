// npm run test:payments
//
// docs/examples/payout.ts in a process of its own, killed with SIGKILL at each of its steps: one payment for each, and the next process
// leaves one payout, one answer and nothing pending. Each kill waits for the step that it is at, and for no time.
import { NodeServices } from "@effect/platform-node"
import { Effect, Layer } from "effect"
import { BlazeServer, LocalServer } from "effect-blaze/testing"
import { eventually, program } from "../support.ts"
import * as Wallet from "./wallet.ts"

const asset = "4d8c508b-91c5-375b-92b0-ee702ed2dac5"

const scene = Effect.gen(function* () {
  const server = yield* BlazeServer.BlazeServer
  const local = yield* LocalServer.LocalServer
  const bot = yield* server.makeBot
  const alice = yield* server.user(bot, "alice")
  const wallet = yield* Wallet.make
  /** A new process, which has asked for what is pending. */
  const start = Effect.gen(function* () {
    const before = yield* bot.handshakes
    const child = yield* program("docs/examples/payout.ts", { ...local.environment(bot), WALLET: wallet.url })
    const listed = Effect.map(
      bot.requests,
      (requests) => requests.length > before && requests.at(-1)!.includes("LIST_PENDING_MESSAGES")
    )
    yield* eventually(listed)
    return child
  })
  const isAcknowledged = Effect.map(bot.pending, ({ length }) => length === 0)
  return { server, bot, alice, wallet, start, isAcknowledged }
})
type Scene = Effect.Success<typeof scene>

/** Has something happen, and waits until there is more of something else than before. */
const untilMore = Effect.fnUntraced(function* (count: Effect.Effect<number>, act: Effect.Effect<unknown>) {
  const before = yield* count
  yield* act
  yield* eventually(Effect.map(count, (now) => now > before))
})

/** How a process comes to each step and no further, once somebody pays. */
const steps: Record<string, (scene: Scene, pid: number, pay: Effect.Effect<unknown>) => Effect.Effect<unknown>> = {
  // The notice is there, and the process does nothing any more.
  paid: (_, pid, pay) =>
    Effect.andThen(
      Effect.sync(() => process.kill(pid, "SIGSTOP")),
      pay
    ),
  "handler begun": ({ wallet }, _, pay) =>
    Effect.andThen(
      wallet.hold("before"),
      untilMore(
        Effect.sync(() => wallet.asked.length),
        pay
      )
    ),
  "payout sent": ({ wallet }, _, pay) =>
    Effect.andThen(
      wallet.hold("after"),
      untilMore(
        Effect.sync(() => wallet.paid.size),
        pay
      )
    ),
  // No acknowledgement is taken until the server is well again.
  answered: ({ bot, server }, _, pay) =>
    Effect.andThen(
      server.inject({ _tag: "FailRest", status: 503, body: "" }, Infinity),
      untilMore(
        Effect.map(bot.sent, ({ length }) => length),
        pay
      )
    ),
  acknowledged: ({ isAcknowledged }, _, pay) => Effect.andThen(pay, eventually(isAcknowledged)),
  "never killed": (_, __, pay) => pay
}

/** What there is to see of a payment: how often the wallet was asked, and the answer sent, shows where the process was killed. */
interface Seen {
  readonly pendingAtKill: number
  readonly payouts: number
  readonly asked: number
  readonly answers: number
  readonly attempts: number
}

const expected: Record<string, Seen> = {
  paid: { pendingAtKill: 1, payouts: 1, asked: 1, answers: 1, attempts: 1 },
  "handler begun": { pendingAtKill: 1, payouts: 1, asked: 2, answers: 1, attempts: 1 },
  "payout sent": { pendingAtKill: 1, payouts: 1, asked: 2, answers: 1, attempts: 1 },
  answered: { pendingAtKill: 1, payouts: 1, asked: 2, answers: 1, attempts: 2 },
  acknowledged: { pendingAtKill: 0, payouts: 1, asked: 1, answers: 1, attempts: 1 },
  "never killed": { pendingAtKill: 0, payouts: 1, asked: 1, answers: 1, attempts: 1 }
}

const main = Effect.gen(function* () {
  const all = yield* scene
  const { alice, bot, isAcknowledged, server, start, wallet } = all
  let child = yield* start
  let wrong = 0
  for (const [index, [step, reach]] of Object.entries(steps).entries()) {
    const amount = `2.${index + 1}`
    const before = { asked: wallet.asked.length, paid: wallet.paid.size, sent: (yield* bot.sent).length }
    yield* reach(all, Number(child.pid), alice.pay({ asset, amount }))
    let pendingAtKill = 0
    if (step !== "never killed") {
      pendingAtKill = (yield* bot.pending).length
      yield* child.kill({ killSignal: "SIGKILL" })
      yield* wallet.hold(undefined)
      yield* server.heal
      child = yield* start
    }
    // It comes after the payment in its conversation: when it is acknowledged, nothing of that is still to come.
    yield* alice.say("thank you")
    yield* eventually(isAcknowledged)
    const payouts = [...wallet.paid.values()].slice(before.paid)
    const answers = (yield* bot.sent).slice(before.sent)
    const seen: Seen = {
      pendingAtKill,
      payouts: payouts.length,
      asked: wallet.asked.length - before.asked,
      answers: answers.length,
      attempts: answers.reduce((sum, { attempts }) => sum + attempts, 0)
    }
    const isRight =
      JSON.stringify(seen) === JSON.stringify(expected[step]) &&
      payouts[0] === JSON.stringify({ to: alice.userId, asset, amount }) &&
      answers[0]?.text === `You get your ${amount} back.`
    if (!isRight) wrong++
    console.log(`${step}: ${isRight ? "ok" : "WRONG"}, ${JSON.stringify(seen)}`)
  }
  const { length: received } = yield* alice.received
  const isRight = wrong === 0 && received === Object.keys(steps).length
  console.log(isRight ? "payments: ok" : "payments: FAILED")
  process.exitCode = isRight ? 0 : 1
})

await Effect.runPromise(main.pipe(Effect.scoped, Effect.provide(Layer.merge(NodeServices.layer, LocalServer.layer()))))
