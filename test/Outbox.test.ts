// What is stored before it is sent: in memory and in a database.
import { Layer } from "effect"
import { SqlStore, Store } from "effect-blaze"
import { NodeSqlite } from "effect-blaze/node"
import { lastingOutboxContract, outboxContract } from "./contract/outbox.ts"

const database = NodeSqlite.layer({ filename: ":memory:" })

outboxContract("in memory", Store.layerMemory, Layer.empty)
outboxContract("in SQLite", SqlStore.layer, database)
lastingOutboxContract("in SQLite", SqlStore.layer, database)
