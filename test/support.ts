import { Cause, Clock, Effect, Fiber, Layer, Logger, Schedule, Stream } from "effect"
import { Blaze, type Delivery, Gzip, Ids, Message, PortableGzip, Settings, Signer, SqlStore, Store } from "effect-blaze"
import { SynchronousCryptography } from "effect-blaze/node"
import { BlazeTest } from "effect-blaze/testing"
import { ChildProcess, type ChildProcessSpawner } from "effect/process"
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"

export interface Case<Input, Expected> {
  readonly name: string
  readonly input: Input
  readonly expected: Expected
}

export const vectors = <Input, Expected>(name: string): ReadonlyArray<Case<Input, Expected>> =>
  JSON.parse(readFileSync(new URL(`vectors/${name}.json`, import.meta.url), "utf8")).cases

export const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex")

export const bytes = (base64: string) => new Uint8Array(Buffer.from(base64, "base64"))

interface Pem {
  readonly $pem: { label: string; newline: string; lead: string; lines: ReadonlyArray<string>; trail: string }
}

/** The text of a private key that a vector holds in parts. */
export const pem = (value: string | Pem): string => {
  if (typeof value === "string") return value
  const { label, lead, lines, newline, trail } = value.$pem
  return `${lead}-----BEGIN ${label}-----${newline}${lines.join(newline)}${newline}-----END ${label}-----${trail}`
}

const realClock = Clock.Clock.defaultValue()

/**
 * Waits, in real time and whatever the test's own clock says, until a socket or a process has done its part. Only a hang takes a minute:
 * no test is about how quick a machine is.
 */
export const eventually = <R>(condition: Effect.Effect<boolean, never, R>) =>
  condition.pipe(
    Effect.repeat({ until: (done) => done, schedule: Schedule.spaced("10 millis") }),
    Effect.timeoutOrElse({ duration: "1 minute", orElse: () => Effect.die("the condition was not reached") }),
    Effect.provideService(Clock.Clock, realClock)
  )

/** How many of some objects anything still holds, once the collector has run. */
export const held = (references: ReadonlyArray<WeakRef<object>>) =>
  Effect.gen(function* () {
    setFlagsFromString("--expose-gc")
    const collect: () => void = runInNewContext("gc")
    // What a turn has looked at lives until it ends.
    yield* Effect.sleep(0)
    collect()
    return references.filter((reference) => reference.deref() !== undefined).length
  })

/** Numbers from 0 to 1 that are the same in every run of a seed. Source: mulberry32, which is in the public domain. */
export const seeded = (seed: number) => {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

// Where the tests keep what was compiled, the processes that they begin do too.
const { NODE_COMPILE_CACHE } = process.env
const compileCache = NODE_COMPILE_CACHE === undefined ? {} : { NODE_COMPILE_CACHE }

/** Runs a program of this repository as a user would: a process of its own, with an environment of its own. */
export const program = (path: string, env: Record<string, string>, args: ReadonlyArray<string> = []) =>
  ChildProcess.make(
    process.execPath,
    ["--conditions=effect-blaze-source", fileURLToPath(new URL(`../${path}`, import.meta.url)), ...args],
    { env: { NO_COLOR: "1", ...compileCache, ...env }, stdin: "ignore" }
  )

/** Hears what a process says while it says it. */
export const listen = Effect.fnUntraced(function* (handle: ChildProcessSpawner.ChildProcessHandle) {
  let output = ""
  const heard = yield* handle.all.pipe(
    Stream.decodeText(),
    Stream.runForEach((text) => Effect.sync(() => void (output += text))),
    Effect.forkScoped
  )
  return {
    output: () => output,
    /** Waits until it has said something. */
    says: (text: string) => eventually(Effect.sync(() => output.includes(text))),
    /** All that it said, and how it ended. */
    ended: Effect.gen(function* () {
      yield* Fiber.join(heard)
      return { output, code: Number(yield* handle.exitCode) }
    })
  }
})

/** What a process said, and how it ended. */
export const outcome = (handle: ChildProcessSpawner.ChildProcessHandle) =>
  Effect.flatMap(listen(handle), ({ ended }) => ended)

/** A client of its own on the server in memory, so that a test can end one and start the next against the same server. */
export const clientWith = <StoreServices = never, QuotaServices = never>(
  ports: Blaze.Ports<StoreServices, QuotaServices>
) =>
  Blaze.layerWith(ports).pipe(
    Layer.provide(BlazeTest.layerTransport),
    Layer.provide(BlazeTest.layerPlatform),
    Layer.provide(Settings.layer({ flushTimeout: 0 }))
  )

/** With the usual parts. */
export const client = clientWith({})

/** A store that keeps nothing, and says of what is handled and put aside what `commit` says. */
export const storeOf = (commit: Store.Operations<never>["commit"]) =>
  Store.persevering({ load: () => Effect.succeed([]), commit, confirm: () => Effect.void })

/** Pushes to a bot what a server may have pushed, whatever it has said and heard before. */
export const push = Effect.fnUntraced(function* (bot: Pick<BlazeTest.Account["Service"], "push">, data: unknown) {
  const { gzip } = yield* Effect.provide(Gzip.Gzip, PortableGzip.layer)
  yield* bot.push(gzip(new TextEncoder().encode(JSON.stringify({ id: "1", action: "CREATE_MESSAGE", data }))))
})

/** What a person said, or nothing where that is no text. */
export const textOf = ({ message }: Delivery.Delivery) => (Message.isText(message) ? message.text : "")

/** Lets virtual time pass, and everybody do what he does then. */
export const pass = (seconds: number) => BlazeTest.pass(seconds * 1000)

/** The log of a test: a level and a text in each line. */
export const lines = () => {
  const all: Array<string> = []
  const logger = Logger.make(({ cause, logLevel, message }) => {
    const texts = Array.isArray(message) ? message.map(String) : [String(message)]
    all.push(`${logLevel} ${texts.join(" ")}${cause.reasons.length > 0 ? ` ${Cause.pretty(cause)}` : ""}`)
  })
  return { all, layer: Logger.layer([logger]) }
}

/**
 * A wall clock that can be set, over the one of the test; what sleeps and what measures time are not touched by it. `set` moves it by
 * some milliseconds.
 */
export const setWall = () => {
  let offset = 0
  return {
    set: (by: number) => {
      offset += by
    },
    provide: <A, E, R>(effect: Effect.Effect<A, E, R>) =>
      Effect.flatMap(Clock.Clock, (clock) => {
        const now = () => clock.currentTimeMillisUnsafe() + offset
        const nanos = () => clock.currentTimeNanosUnsafe() + BigInt(offset) * 1_000_000n
        const wrong: Clock.Clock = Object.create(clock, {
          currentTimeMillisUnsafe: { value: now },
          currentTimeMillis: { value: Effect.sync(now) },
          currentTimeNanosUnsafe: { value: nanos },
          currentTimeNanos: { value: Effect.sync(nanos) }
        })
        return Effect.provideService(effect, Clock.Clock, wrong)
      })
  }
}

/**
 * Where in a value, at any depth, a text stands that matches: in own properties of every kind, those too that are not enumerable,
 * behind symbols, in maps, sets and bytes, which `inspect` does not all show.
 */
export const found = (value: unknown, pattern: RegExp): ReadonlyArray<string> => {
  const seen = new Set<object>()
  const places: Array<string> = []
  const look = (value: unknown, place: string): void => {
    if (typeof value === "string" && pattern.test(value)) places.push(place)
    if ((typeof value !== "object" && typeof value !== "function") || value === null || seen.has(value)) return
    seen.add(value)
    if (value instanceof Uint8Array) return look(Buffer.from(value).toString("latin1"), `${place} as text`)
    if (value instanceof Map || value instanceof Set) [...value].forEach((entry, n) => look(entry, `${place}(${n})`))
    for (const key of Reflect.ownKeys(value)) {
      look(key, `a key of ${place}`)
      const property = Reflect.getOwnPropertyDescriptor(value, key)
      look(property !== undefined && "value" in property ? property.value : undefined, `${place}.${String(key)}`)
      if (property?.get !== undefined) look(Reflect.get(value, key), `${place}.${String(key)}`)
    }
  }
  look(value, "it")
  return places
}

/** A store in a database, of a bot that signs nothing. */
export const sqlStoreOf = (userId: Ids.UserId) =>
  SqlStore.layer.pipe(
    Layer.provide([
      Layer.succeed(Signer.Signer, { userId, token: () => Effect.die("nothing is signed") }),
      SynchronousCryptography.layer
    ])
  )
/** The bot of most tests of stores. */
export const botOfStores = Ids.UserId.make("773e5e77-4107-45c2-b648-8fc722ed77f5")
export const sqlStore = sqlStoreOf(botOfStores)
