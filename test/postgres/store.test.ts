// npm run test:postgres: what holds for SQLite holds for PostgreSQL.
import { NodeServices } from "@effect/platform-node"
import { assert, it } from "@effect/vitest"
import { Clock, Deferred, Effect, Exit, Layer, Schedule, Scope } from "effect"
import { Bot, Settings, Signer, SqlStore } from "effect-blaze"
import { NodeBlaze } from "effect-blaze/node"
import { BlazeServer, LocalServer } from "effect-blaze/testing"
import { SqlClient } from "effect/sql"
import { afterAll } from "vitest"
import { sqlStoreContract } from "../contract/sqlStore.ts"
import * as SharedStore from "../../src/cluster/internal/SharedStore.ts"
import { sharedStoreContract } from "../contract/sharedStore.ts"
import { stateContract } from "../contract/state.ts"
import * as SqlStates from "../../src/internal/SqlStates.ts"
import * as SqlTables from "../../src/internal/SqlTables.ts"
import { botOfStores, eventually, program } from "../support.ts"
import { client, empty, start, urlOf } from "./server.ts"

const scope = Scope.makeUnsafe()
const { port } = await Effect.runPromise(Scope.provide(start, scope))
afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))
// It takes connections a moment after it was started.
await Effect.runPromise(
  Effect.flatMap(SqlClient.SqlClient, (sql) => sql`SELECT 1`).pipe(
    Effect.provide(client(port, "postgres")),
    Effect.retry(Schedule.spaced("100 millis").pipe(Schedule.upTo({ times: 300 })))
  )
)

sqlStoreContract("PostgreSQL", empty(port))
stateContract("in PostgreSQL", SqlStore.layer, empty(port))
sharedStoreContract("PostgreSQL", empty(port))
stateContract("in PostgreSQL, shared", SharedStore.layer, empty(port))

it.live("docs/examples/cluster/bot.ts: two machines answer, and one counts on what the other has counted", () =>
  Effect.gen(function* () {
    const server = yield* BlazeServer.BlazeServer
    const local = yield* LocalServer.LocalServer
    const bot = yield* server.makeBot
    const people = yield* Effect.forEach(Array.from({ length: 12 }), (_, n) => server.user(bot, `p${n}`))
    const start = (address: number) =>
      program("docs/examples/cluster/bot.ts", {
        ...local.environment(bot),
        HOST: "127.0.0.1",
        PORT: String(address),
        DATABASE_URL: urlOf(port, "postgres")
      })
    const everybodySays = (text: string) => Effect.forEach(people, (person) => person.say(text), { discard: true })
    const everybodyReads = (text: string) =>
      eventually(
        Effect.map(
          Effect.forEach(people, (person) => person.received),
          (all) => all.every((received) => received.at(-1)?.text === text)
        )
      )
    const first = yield* start(port + 1)
    yield* everybodySays("hi")
    yield* everybodyReads("Message 1: hi")
    yield* start(port + 2)
    yield* everybodySays("again")
    yield* everybodyReads("Message 2: again")
    yield* first.kill({ killSignal: "SIGTERM" }).pipe(Effect.ignore)
    yield* everybodySays("bye")
    yield* everybodyReads("Message 3: bye")
  }).pipe(Effect.scoped, Effect.provide([LocalServer.layer(), NodeServices.layer]))
)

it.live("a value that another process writes anew while what has expired is taken out stays", () =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    yield* SqlTables.make(sql)
    const now = yield* Clock.currentTimeMillis
    const write = (key: string, revision: string, expiresAt: number) => ({
      name: "n",
      key,
      basedOn: undefined,
      revision,
      next: { version: 1, value: "1", dueAt: undefined, expiresAt }
    })
    // It looks for what has expired with its first write, and then for a minute not again.
    const states = SqlStates.make(sql, botOfStores)
    yield* states.apply([write("other", "first", now + 1_000_000)], now)
    yield* states.apply([write("value", "old", now - 1)], now)
    const isWritten = yield* Deferred.make<void>()
    const isSwept = yield* Deferred.make<void>()
    const writing = sql.withTransaction(
      Effect.gen(function* () {
        yield* states.apply([write("value", "new", now + 1_000_000)], now)
        yield* Deferred.succeed(isWritten, undefined)
        // Where the other one waits for this it waits for good.
        yield* Effect.timeoutOption(Deferred.await(isSwept), "1 second")
      })
    )
    const sweeping = Effect.gen(function* () {
      yield* Deferred.await(isWritten)
      yield* sql.withTransaction(
        SqlStates.make(sql, botOfStores).apply([write("other", "second", now + 1_000_000)], now)
      )
      yield* Deferred.succeed(isSwept, undefined)
    })
    yield* Effect.all([writing, sweeping], { concurrency: 2 })
    const rows = yield* sql<{ revision: string }>`SELECT revision FROM blaze_state ORDER BY key`
    assert.deepStrictEqual(
      rows.map(({ revision }) => revision),
      ["second", "new"]
    )
  }).pipe(Effect.provide(empty(port)))
)

it.live("a bot on PostgreSQL handles nothing again that an earlier process has handled", () =>
  Effect.gen(function* () {
    const server = yield* BlazeServer.BlazeServer
    const local = yield* LocalServer.LocalServer
    const account = yield* server.makeBot
    const alice = yield* server.user(account, "alice")
    const heard: Array<string> = []
    const database = yield* Layer.build(empty(port))
    const life = (acknowledgeWithin: "1 hour" | "10 millis") =>
      Bot.run(({ message }) => Effect.sync(() => heard.push(message.id))).pipe(
        Effect.provide(
          NodeBlaze.layer(Signer.layerString(account.keystore), { store: SqlStore.layer }).pipe(
            Layer.provide(Settings.layer({ url: local.url, apiUrl: local.apiUrl, acknowledgeWithin, flushTimeout: 0 }))
          )
        ),
        Effect.provideContext(database)
      )
    yield* server.inject({ _tag: "FailRest", status: 503, body: "" }, Infinity)
    const first = yield* Effect.forkChild(life("1 hour"))
    for (let n = 0; n < 100; n++) yield* alice.say(String(n))
    const sql = yield* Effect.provideContext(SqlClient.SqlClient, database)
    const stored = Effect.map(sql<{ ids: string }>`SELECT ids FROM blaze_handled`, (rows) =>
      rows.flatMap(({ ids }) => JSON.parse(ids) as Array<string>)
    ).pipe(Effect.orElseSucceed((): Array<string> => []))
    yield* eventually(Effect.map(stored, ({ length }) => length === 100))
    first.interruptUnsafe()
    yield* eventually(Effect.sync(() => first.pollUnsafe() !== undefined))
    yield* server.heal
    yield* Effect.forkChild(life("10 millis"))
    yield* eventually(Effect.map(account.pending, ({ length }) => length === 0))
    assert.strictEqual(heard.length, 100)
  }).pipe(Effect.scoped, Effect.provide(LocalServer.layer()))
)
