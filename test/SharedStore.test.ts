// A database that several processes share: SQLite here, PostgreSQL in npm run test:postgres.
import { NodeSqlite } from "effect-blaze/node"
import { Layer } from "effect"
import * as Outbox from "../src/internal/Outbox.ts"
import * as SharedStore from "../src/cluster/internal/SharedStore.ts"
import { lastingOutboxContract, outboxContract } from "./contract/outbox.ts"
import { sharedStoreContract } from "./contract/sharedStore.ts"
import { stateContract } from "./contract/state.ts"

// The tests let weeks pass, in which nobody else stores anything.
const database = Layer.merge(NodeSqlite.layer({ filename: ":memory:" }), Layer.succeed(Outbox.SharedPeriod, "1 day"))

sharedStoreContract("SQLite", database)
stateContract("in SQLite, shared", SharedStore.layer, database)
outboxContract("in SQLite, shared", SharedStore.layer, database)
lastingOutboxContract("in SQLite, shared", SharedStore.layer, database, true)
