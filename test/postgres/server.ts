// A PostgreSQL of its own for a test: Debian's programs, a directory that goes with it, 127.0.0.1 and nothing durable.
import { PgClient } from "@effect/sql-pg"
import { Effect, Layer, Redacted } from "effect"
import { SqlClient } from "effect/sql"
import { execFileSync, spawn, spawnSync } from "node:child_process"
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"

/** Where Debian has them: beside each other, a directory for each version. */
const programs = () => {
  const root = "/usr/lib/postgresql"
  const versions = existsSync(root)
    ? readdirSync(root)
        .map(Number)
        .toSorted((a, b) => b - a)
    : []
  if (versions[0] === undefined) throw new Error("There is no PostgreSQL here: apt-get install postgresql.")
  return join(root, String(versions[0]), "bin")
}

const numberOf = (what: "-u" | "-g", user: string) => Number(execFileSync("id", [what, user], { encoding: "utf8" }))

/** Below those that the system hands out: between looking and listening nobody else gets it. */
const freePort = async () => {
  for (let port = 20_000 + (process.pid % 10_000); ; port++) {
    const isFree = await new Promise<boolean>((resolve) => {
      const server = createServer()
      server.once("error", () => resolve(false))
      server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)))
    })
    if (isFree) return port
  }
}

/** Starts one; gives its port. */
export const start = Effect.acquireRelease(
  Effect.promise(async () => {
    const bin = programs()
    const directory = mkdtempSync(join(tmpdir(), "postgres-"))
    // It refuses to run as root.
    const isRoot = process.getuid?.() === 0
    const user = isRoot ? { uid: numberOf("-u", "postgres"), gid: numberOf("-g", "postgres") } : {}
    if (isRoot) chownSync(directory, numberOf("-u", "postgres"), numberOf("-g", "postgres"))
    const data = join(directory, "data")
    execFileSync(join(bin, "initdb"), ["-D", data, "-A", "trust", "-U", "test"], {
      ...user,
      stdio: "ignore",
      cwd: directory
    })
    const port = await freePort()
    const child = spawn(
      join(bin, "postgres"),
      ["-D", data, "-p", String(port), "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-k", directory],
      { ...user, stdio: "ignore", cwd: directory }
    )
    const isReady = () => spawnSync(join(bin, "pg_isready"), ["-h", "127.0.0.1", "-p", String(port)]).status === 0
    while (!isReady()) if (child.exitCode !== null) throw new Error(`PostgreSQL has ended with ${child.exitCode}.`)
    return { port, child, directory }
  }),
  ({ child, directory }) =>
    Effect.promise(
      () =>
        new Promise<void>((resolve) => {
          child.once("exit", () => {
            rmSync(directory, { recursive: true, force: true })
            resolve()
          })
          // Fast: it waits for nobody.
          child.kill("SIGINT")
        })
    )
)

/** The address of one of its databases. */
export const urlOf = (port: number, database: string) => `postgres://test@127.0.0.1:${port}/${database}`

/** A client of one of its databases. */
export const client = (port: number, database: string) =>
  PgClient.layer({ url: Redacted.make(urlOf(port, database)), maxConnections: 4 })

let databases = 0

/** Makes an empty database each time; gives its name. */
export const createDatabase = (port: number) =>
  Effect.gen(function* () {
    const name = `test_${++databases}`
    const sql = yield* SqlClient.SqlClient
    yield* sql`CREATE DATABASE ${sql(name)}`
    return name
  }).pipe(Effect.provide(client(port, "postgres")))

/** An empty database each time. */
export const empty = (port: number) => Layer.unwrap(Effect.map(createDatabase(port), (name) => client(port, name)))
