// Several runners of one bot in this process, over real sockets: what only shows where a conversation moves from one to another.
import * as NodeClusterSocket from "@effect/platform-node/NodeClusterSocket"
import { NodeServices } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Context, Duration, Effect, Exit, Layer, Option, Result, Scope, SubscriptionRef } from "effect"
import { Blaze, type BlazeError, Bot, Delivery, Keyed } from "effect-blaze"
import { BlazeCluster, NodeBlazeCluster } from "effect-blaze/cluster"
import { NodeSqlite } from "effect-blaze/node"
import { BlazeServer, BlazeTest, LocalServer } from "effect-blaze/testing"
import { MessageStorage, RunnerAddress, ShardingConfig, SqlRunnerStorage } from "effect/cluster"
import { createServer } from "node:net"
import type { AddressInfo } from "node:net"
import * as Holder from "../src/cluster/internal/Holder.ts"
import { eventually, listen, program, textOf } from "./support.ts"

const freePort = Effect.promise(
  () =>
    new Promise<number>((resolve) => {
      const server = createServer()
      server.listen(0, "127.0.0.1", () => {
        const { port } = server.address() as AddressInfo
        server.close(() => resolve(port))
      })
    })
)

/**
 * As many as one likes, on one database. Nobody waits for others to join, and a conversation waits a few times as long as a handler takes until
 * it moves.
 */
const runner = Layer.unwrap(
  Effect.map(freePort, (port) => {
    const config: Partial<ShardingConfig.ShardingConfig["Service"]> = {
      ...NodeBlazeCluster.defaults,
      runnerAddress: Option.some(RunnerAddress.make("127.0.0.1", port)),
      runnerJoinDebounce: 0,
      refreshAssignmentsInterval: "200 millis",
      entityTerminationTimeout: "2 seconds"
    }
    const sharding = NodeClusterSocket.layer({ storage: "byo", runnerHealth: "ping", shardingConfig: config }).pipe(
      Layer.provide([
        MessageStorage.layerNoop,
        SqlRunnerStorage.layerWith({ prefix: "runners" }).pipe(Layer.provide(ShardingConfig.layerFromEnv(config)))
      ]),
      Layer.orDie
    )
    return BlazeCluster.layerWith(sharding).pipe(
      Layer.provideMerge(BlazeTest.layerTransport),
      Layer.provide(BlazeTest.layerPlatform)
    )
  })
)

const world = Layer.merge(BlazeTest.layerServer, NodeSqlite.layer({ filename: ":memory:" })).pipe(
  Layer.provideMerge(Layer.succeed(Keyed.Grace, 0))
)

/** Starts one, whose bot goes on in the background. */
const start = Effect.fnUntraced(function* (...bot: Parameters<typeof Bot.layer<BlazeError.BlazeError, never>>) {
  const scope = yield* Scope.fork(yield* Effect.scope)
  const context = yield* Layer.buildWithScope(Layer.fresh(Bot.layer(...bot).pipe(Layer.provideMerge(runner))), scope)
  return { blaze: Context.get(context, Blaze.Blaze), close: Scope.close(scope, Exit.void) }
})

const inWorld = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.scoped(effect).pipe(Effect.provide(Layer.fresh(world)))

const people = (count: number) => Effect.forEach(Array.from({ length: count }), (_, n) => BlazeTest.user(`p${n}`))

const isQuiet = Effect.flatMap(BlazeTest.Account, ({ pending }) => Effect.map(pending, ({ length }) => length === 0))

describe("runners of one bot", () => {
  it.live("begin with nothing that another has handled, though it waited here when its conversation moved", () =>
    Effect.gen(function* () {
      const all = yield* people(30)
      const handled = new Set<string>()
      const twice: Array<string> = []
      const order = new Map<string, Array<string>>()
      const names = new Set<string>()
      const bot = (name: string) =>
        start(
          (delivery) =>
            Effect.gen(function* () {
              const text = textOf(delivery)
              if (handled.has(text)) twice.push(text)
              const [person, number] = text.split(" ") as [string, string]
              const numbers = order.get(person) ?? []
              // On a slow machine a handler may take longer than its conversation waits until it moves, and is begun in both places.
              if (numbers.at(-1) !== number) order.set(person, [...numbers, number])
              // All of them take several times as long as it takes until a conversation moves.
              yield* Effect.sleep("150 millis")
              yield* delivery.reply(text)
              handled.add(text)
              names.add(name)
            }),
          { concurrency: 1 }
        )
      yield* bot("first")
      for (const number of ["1", "2"]) for (const [n, person] of all.entries()) yield* person.say(`p${n} ${number}`)
      yield* eventually(Effect.sync(() => handled.size > 0))
      yield* bot("second")
      yield* eventually(isQuiet)
      // The second has had its part of them.
      assert.strictEqual(names.size, 2)
      assert.deepStrictEqual(twice, [])
      for (const numbers of order.values()) assert.deepStrictEqual(numbers, ["1", "2"])
      // As to another runner than the one that holds the socket.
    }).pipe(Effect.provideService(Holder.IsDirect, false), inWorld)
  )

  it.live("put aside, wherever it is, what is never wanted again", () =>
    Effect.gen(function* () {
      const all = yield* people(20)
      const runs = new Map<string, number>()
      const names = new Set<string>()
      const bot = (name: string) =>
        start((delivery) =>
          Effect.sync(() => {
            const text = textOf(delivery)
            runs.set(text, (runs.get(text) ?? 0) + 1)
            if (text.startsWith("handle")) {
              names.add(name)
              return Delivery.Ack
            }
            return Delivery.deferFor(Duration.infinity)
          })
        )
      yield* bot("first")
      yield* bot("second")
      let rounds = 0
      const round = (what: string) =>
        Effect.forEach(all, (person, n) => person.say(`${what} ${rounds} ${n}`), { discard: true })
      yield* eventually(
        Effect.gen(function* () {
          yield* round(`handle ${rounds++}`)
          return names.size === 2
        })
      )
      yield* eventually(isQuiet)
      yield* round("never")
      yield* eventually(Effect.sync(() => [...runs.keys()].filter((text) => text.startsWith("never")).length === 20))
      // What would be given out again is so before what comes after it a few times.
      for (let n = 0; n < 3; n++) {
        const before = [...runs.keys()].length
        yield* round(`handle after ${n}`)
        yield* eventually(Effect.sync(() => [...runs.keys()].length === before + 20))
      }
      const again = [...runs].filter(([text, count]) => text.startsWith("never") && count > 1)
      assert.deepStrictEqual(again, [])
    }).pipe(inWorld)
  )

  it.live("go on without one that Mixin has refused, and do not take over what it was told", () =>
    Effect.gen(function* () {
      const server = yield* BlazeServer.BlazeServer
      const alice = yield* BlazeTest.user("alice")
      const heard: Array<string> = []
      const bot = (name: string) =>
        start((delivery) => Effect.sync(() => void heard.push(`${name} heard ${textOf(delivery)}`)))
      yield* server.inject({ _tag: "RefuseHandshake", status: 401 }, Infinity)
      const first = yield* bot("first")
      const tagOf = ({ status }: Blaze.Blaze["Service"]) => Effect.map(SubscriptionRef.get(status), ({ _tag }) => _tag)
      yield* eventually(Effect.map(tagOf(first.blaze), (tag) => tag === "Stopped"))
      yield* server.heal
      // The keystore has been mended, and the first process lives on.
      const second = yield* bot("second")
      yield* eventually(Effect.map(tagOf(second.blaze), (tag) => tag === "Connected"))
      yield* alice.say("hello")
      yield* eventually(isQuiet)
      assert.deepStrictEqual(heard, ["second heard hello"])
      assert.strictEqual(yield* tagOf(first.blaze), "Stopped")
    }).pipe(inWorld)
  )

  const toldToEnd = (listens: string) =>
    Effect.gen(function* () {
      const server = yield* BlazeServer.BlazeServer
      const local = yield* LocalServer.LocalServer
      const bot = yield* server.makeBot
      const ports = [yield* freePort, yield* freePort]
      const environment = { ...local.environment(bot), LISTENS: listens }
      const handle = yield* program("test/programs/signal.ts", environment, ports.map(String))
      const { ended, says } = yield* listen(handle)
      yield* says("ready")
      process.kill(Number(handle.pid), "SIGTERM")
      return yield* Effect.result(ended)
    }).pipe(Effect.scoped, Effect.provide([LocalServer.layer(), NodeServices.layer]), Effect.orDie)

  it.live("end with the process, which dies of SIGTERM where the program does not listen to it", () =>
    Effect.map(toldToEnd("never"), (ended) => assert.isTrue(Result.isFailure(ended)))
  )

  it.live.each(["once", "always"])("leave a program its time that listens to SIGTERM %s", (listens) =>
    Effect.map(toldToEnd(listens), (ended) => {
      assert.strictEqual(Result.getOrThrow(ended).code, 0)
      assert.include(Result.getOrThrow(ended).output, "ended in peace")
    })
  )
})
