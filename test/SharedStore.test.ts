// A database that several processes share: SQLite here, PostgreSQL in npm run test:postgres.
import { NodeSqlite } from "effect-blaze/node"
import * as SharedStore from "../src/cluster/internal/SharedStore.ts"
import { lastingOutboxContract, outboxContract } from "./contract/outbox.ts"
import { sharedStoreContract } from "./contract/sharedStore.ts"
import { stateContract } from "./contract/state.ts"

const database = NodeSqlite.layer({ filename: ":memory:" })

sharedStoreContract("SQLite", database)
stateContract("in SQLite, shared", SharedStore.layer, database)
outboxContract("in SQLite, shared", SharedStore.layer, database)
lastingOutboxContract("in SQLite, shared", SharedStore.layer, database, true)
