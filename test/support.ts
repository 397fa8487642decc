import { Clock, Effect, Schedule, Stream } from "effect"
import { ChildProcess, type ChildProcessSpawner } from "effect/process"
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"

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

/** Waits, in real time and for at most five seconds, until a real socket has done its part. */
export const eventually = <R>(condition: Effect.Effect<boolean, never, R>) =>
  condition.pipe(
    Effect.repeat({ until: (done) => done, schedule: Schedule.spaced("10 millis") }),
    Effect.timeout("5 seconds"),
    Effect.orDie
  )

/** Runs a program of this repository as a user would: a process of its own, with an environment of its own. */
export const program = (path: string, env: Record<string, string>, args: ReadonlyArray<string> = []) =>
  ChildProcess.make(
    process.execPath,
    ["--conditions=effect-blaze-source", fileURLToPath(new URL(`../${path}`, import.meta.url)), ...args],
    { env: { NO_COLOR: "1", ...env }, stdin: "ignore" }
  )

/** What a process said, and how it ended. */
export const outcome = Effect.fnUntraced(function* (handle: ChildProcessSpawner.ChildProcessHandle) {
  const [output, code] = yield* Effect.all([Stream.mkString(Stream.decodeText(handle.all)), handle.exitCode], {
    concurrency: 2
  })
  return { output, code: Number(code) }
})

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
