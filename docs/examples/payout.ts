// A bot that gives back what it is paid, through a wallet of your own: PUT WALLET/payouts/TRACE pays out once, however often it is asked.
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Config, Context, Effect, Layer, Option } from "effect"
import { Bot } from "effect-blaze"
import { NodeBlaze } from "effect-blaze/node"
import { HttpClient, HttpClientRequest } from "effect/http"

export interface Payout {
  readonly trace: string
  readonly to: string
  readonly asset: string
  readonly amount: string
}

/** The wallet. A trace that it has paid it does not pay again, and succeeds all the same. */
export class Payouts extends Context.Service<
  Payouts,
  { readonly send: (payout: Payout) => Effect.Effect<unknown, unknown> }
>()("payout/Payouts") {}

export const payout = Bot.match({
  Snapshot: Effect.fnUntraced(function* (delivery) {
    const { amountText: amount, assetId: asset, direction, opponentId } = delivery.message
    if (direction === "Sent" || Option.isNone(opponentId)) return // of its own payouts the bot is told too
    const trace = yield* delivery.derive("payout")
    yield* (yield* Payouts).send({ trace, to: opponentId.value, asset, amount })
    yield* delivery.reply(`You get your ${amount} back.`)
  }),
  orElse: () => Effect.void
})

const wallet = Layer.effect(
  Payouts,
  Effect.gen(function* () {
    const url = yield* Config.String("WALLET")
    const client = HttpClient.filterStatusOk(yield* HttpClient.HttpClient)
    const put = ({ trace, ...payout }: Payout) =>
      HttpClientRequest.put(`${url}/payouts/${trace}`).pipe(HttpClientRequest.bodyJsonUnsafe(payout), client.execute)
    return { send: (payout) => Effect.flatMap(put(payout), ({ text }) => text) }
  })
)

if (import.meta.main) {
  const services = Layer.merge(NodeBlaze.layerConfig, Layer.provide(wallet, NodeHttpClient.layerNodeHttp))
  Bot.run(payout).pipe(Effect.provide(services), NodeRuntime.runMain)
}
