// A bot that pays out, killed wherever it may be between the payment and its acknowledgement: one payout, one answer, each time.
// test/faults/payments.ts does the same to a real process, with SIGKILL.
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Random } from "effect"
import { Acks, Blaze, Bot } from "effect-blaze"
import { type BlazeServer, Simulation } from "effect-blaze/testing"
import { type Payout, Payouts, payout } from "../docs/examples/payout.ts"

const asset = "4d8c508b-91c5-375b-92b0-ee702ed2dac5"

/** How far a process came before it was killed. */
type Step = "paid" | "handler begun" | "payout sent" | "answered" | "acknowledged"
const steps: ReadonlyArray<Step> = ["paid", "handler begun", "payout sent", "answered", "acknowledged"]

describe("killed after every step of its scheduler", () => {
  /** The ledger outlives the bot, as a disk does; what is on its way there and back takes its time. */
  const makeLedger = () => {
    const asked: Array<string> = []
    const paid = new Map<string, Payout>()
    const send = Effect.fnUntraced(function* (payout: Payout) {
      yield* Effect.sleep("20 millis")
      asked.push(payout.trace)
      if (!paid.has(payout.trace)) paid.set(payout.trace, payout)
      yield* Effect.sleep("20 millis")
    })
    return { asked, paid, send }
  }

  /** Pays by a trace of its own, as a bot would that does not derive it. */
  const randomly = ({ send }: Payouts["Service"]): Payouts["Service"] => ({
    send: (payout) => Effect.flatMap(Random.nextInt, (number) => send({ ...payout, trace: `random ${number}` }))
  })

  interface World {
    readonly seed: number
    readonly acks: typeof Acks.layerRest | typeof Acks.layerSocket
    readonly shuffled: boolean
    readonly wallet?: typeof randomly
  }

  /** What the second life has left to do shows how far the first one came. */
  const stepOf = (
    { runs }: Simulation.Outcome,
    asked: ReadonlyArray<string>,
    sent: ReadonlyArray<BlazeServer.Sent>
  ): Step => {
    if (!runs.some(({ life }) => life === 1)) return "paid"
    if (!runs.some(({ life }) => life === 2)) return "acknowledged"
    if (asked.length < 2) return "handler begun"
    return sent[0]!.attempts < 2 ? "payout sent" : "answered"
  }

  const run = Effect.fnUntraced(function* ({ acks, seed, shuffled, wallet }: World, killAfter: number | undefined) {
    const ledger = makeLedger()
    let sent: ReadonlyArray<BlazeServer.Sent> = []
    let pending = 0
    const subject = {
      bot: Bot.layer(payout),
      disk: Layer.succeed(Payouts, wallet === undefined ? ledger : wallet(ledger)),
      blaze: Blaze.layerWith({ acks }),
      shuffled
    }
    const outcome = yield* Simulation.run(subject, seed, (stage) =>
      Effect.gen(function* () {
        yield* stage.pass("1 minute")
        yield* stage.person("alice").pay({ asset, amount: "2.5" })
        if (killAfter !== undefined) yield* stage.perform({ at: 0, do: "kill", steps: killAfter, down: 1000 })
        yield* stage.pass("5 minutes")
        sent = yield* stage.account.sent
        pending = (yield* stage.account.pending).length
      })
    )
    return {
      outcome,
      step: stepOf(outcome, ledger.asked, sent),
      // What must be the same wherever it was killed, the ids of the payout and of the answer included.
      result: {
        payouts: [...ledger.paid.values()],
        answers: sent.map(({ messageId, text }) => ({ messageId, text })),
        heard: outcome.heard.map(({ text }) => text),
        pending
      }
    }
  })

  /** Kills after no step, one, two and so on, until the bot has nothing left to do for a second when it is killed. */
  const sweep = Effect.fnUntraced(function* (world: World) {
    const { result: calm } = yield* run(world, undefined)
    const killed: Array<Pick<Effect.Success<ReturnType<typeof run>>, "step" | "result">> = []
    while (true) {
      const { outcome, result, step } = yield* run(world, killed.length)
      assert.strictEqual(outcome.lives, 2)
      killed.push({ step, result })
      const [acknowledged] = outcome.acknowledged
      // The last thing that happens to it is that it begins again, a second after it was killed.
      if (acknowledged !== undefined && outcome.lastFault - 1000 > acknowledged.at + 1000) return { calm, killed }
    }
  })

  for (const [name, world] of Object.entries({
    "over REST": { acks: Acks.layerRest, shuffled: false },
    "over the socket, tasks in any order": { acks: Acks.layerSocket, shuffled: true }
  })) {
    it.live(`there is one payout and one answer, acknowledged ${name}`, () =>
      Effect.gen(function* () {
        // What takes how long on its way depends on the seed.
        for (const seed of [1, 2, 3]) {
          const { calm, killed } = yield* sweep({ seed, ...world })
          assert.deepStrictEqual([calm.payouts.length, calm.answers.length, calm.pending], [1, 1, 0])
          assert.deepStrictEqual(calm.heard, ["You get your 2.5 back."])
          for (const [count, { result, step }] of killed.entries()) {
            assert.deepStrictEqual(result, calm, `seed ${seed}, ${step}, killed after ${count} steps`)
          }
          assert.sameMembers([...new Set(killed.map(({ step }) => step))], [...steps])
        }
      })
    )
  }

  it.live("a trace that is random in each run pays twice, where the payout was sent and not acknowledged", () =>
    Effect.gen(function* () {
      const { killed } = yield* sweep({ seed: 1, acks: Acks.layerRest, shuffled: false, wallet: randomly })
      const twice = killed.flatMap(({ result, step }) => (result.payouts.length === 2 ? [step] : []))
      assert.sameMembers([...new Set(twice)], ["payout sent", "answered"])
    })
  )
})
