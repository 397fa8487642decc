// npm run test:postgres: what holds for SQLite holds for PostgreSQL.
import { assert, it } from "@effect/vitest"
import { Effect, Exit, Layer, Schedule, Scope } from "effect"
import { Bot, Settings, Signer, SqlStore } from "effect-blaze"
import { NodeBlaze } from "effect-blaze/node"
import { BlazeServer, LocalServer } from "effect-blaze/testing"
import { SqlClient } from "effect/sql"
import { afterAll } from "vitest"
import { sqlStoreContract } from "../contract/sqlStore.ts"
import * as SharedStore from "../../src/cluster/internal/SharedStore.ts"
import { sharedStoreContract } from "../contract/sharedStore.ts"
import { stateContract } from "../contract/state.ts"
import { eventually } from "../support.ts"
import { client, empty, start } from "./server.ts"

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
