// Two bots in clusters, in a program that listens to SIGTERM itself, or not.
import { Effect, Layer, Scope } from "effect"
import { Signer } from "effect-blaze"
import { NodeBlazeCluster } from "effect-blaze/cluster"
import { NodeSqlite } from "effect-blaze/node"
import { RunnerAddress } from "effect/cluster"
import * as Option from "effect/Option"

const inPeace = () =>
  void Effect.sync(() => {
    process.stdout.write("ended in peace\n")
    process.exit(0)
  }).pipe(Effect.delay("100 millis"), Effect.runFork)
if (process.env["LISTENS"] === "once") process.once("SIGTERM", inPeace)
if (process.env["LISTENS"] === "always") process.on("SIGTERM", inPeace)

const [, , ...ports] = process.argv
const bots = Layer.mergeAll(
  Layer.empty,
  ...ports.map((port) =>
    Layer.fresh(
      NodeBlazeCluster.layer(Signer.layerConfig, {
        prefix: `bot_${port}`,
        sharding: { runnerAddress: Option.some(RunnerAddress.make("127.0.0.1", Number(port))) }
      }).pipe(Layer.provide(NodeSqlite.layer({ filename: ":memory:" })))
    )
  )
)
await Effect.runPromise(Layer.buildWithScope(bots, Scope.makeUnsafe()))
process.stdout.write("ready\n")
