/**
 * The bot in a process of its own, begun again when its code changes.
 *
 * Guarantee: there is one process at a time; one that is told to end has half a second; what it says is kept, the last few hundred lines.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as Path from "effect/Path"
import type * as PlatformError from "effect/PlatformError"
import * as ChildProcess from "effect/process/ChildProcess"
import type * as ChildProcessSpawner from "effect/process/ChildProcessSpawner"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import * as Signal from "../../internal/Signal.ts"
import * as Scene from "./Scene.ts"

const maximumLines = 500
const maximumLine = 2000

/** How many lines of what it said last are shown where it has ended. */
const lastWords = 30

/** How long it has to finish. */
const grace = "500 millis"

/** Several files are often written together. */
const calm = "50 millis"

const maximumDirectories = 500

const isCode = (file: string) =>
  (/\.[cm]?[jt]sx?$/.test(file) && !/\.test\./.test(file)) || file.endsWith("package.json")

const isIgnored = (name: string) => name.startsWith(".") || ["node_modules", "dist", "coverage", "test"].includes(name)

/** The directories below one that may have code in them. */
const directoriesIn = Effect.fnUntraced(function* (root: string) {
  const files = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const found = [root]
  for (let index = 0; index < found.length && found.length < maximumDirectories; index++) {
    const names = yield* Effect.orElseSucceed(files.readDirectory(found[index]!), () => [])
    for (const name of names) {
      if (isIgnored(name)) continue
      const child = path.join(found[index]!, name)
      const info = yield* Effect.option(files.stat(child))
      if (info._tag === "Some" && info.value.type === "Directory") found.push(child)
    }
  }
  return found
})

/** Calls when code below a directory has changed. */
const watch = Effect.fnUntraced(function* (root: string, changed: () => void) {
  const files = yield* FileSystem.FileSystem
  const scope = yield* Effect.scope
  const watched = new Map<string, { readonly inode: number; readonly fiber: Fiber.Fiber<void> }>()
  const inodeOf = (directory: string) =>
    files.stat(directory).pipe(
      Effect.map(({ ino }) => Number(Option.getOrElse(ino, () => 0))),
      Effect.orElseSucceed(() => -1)
    )
  const watchAll = (isFirst: boolean): Effect.Effect<void, never, FileSystem.FileSystem | Path.Path> =>
    Effect.gen(function* () {
      const found = new Set(yield* directoriesIn(root))
      for (const [directory, { fiber, inode }] of watched) {
        if (found.has(directory) && (yield* inodeOf(directory)) === inode) continue
        // Another one may be there in its place, which nobody watches.
        watched.delete(directory)
        yield* Effect.forkIn(Fiber.interrupt(fiber), scope)
      }
      for (const directory of found) {
        if (watched.has(directory)) continue
        if (!isFirst) changed()
        const watching = files.watch(directory).pipe(
          Stream.runForEach(({ path }) => {
            if (isCode(path)) changed()
            return watchAll(false)
          }),
          Effect.ignore
        )
        watched.set(directory, { inode: yield* inodeOf(directory), fiber: yield* Effect.forkIn(watching, scope) })
      }
    })
  yield* watchAll(true)
})

/** Lines of what a process says, which may be no text at all: what is longer is cut. */
const lines = (self: Stream.Stream<Uint8Array, PlatformError.PlatformError>, maximum: number) =>
  self.pipe(
    Stream.decodeText(),
    Stream.mapAccum(
      () => "",
      (begun, text) => {
        const parts = text.split(/\r?\n/)
        parts[0] = begun + parts[0]!
        const rest = parts.pop()!
        return [rest.slice(0, maximum), parts.map((line) => line.slice(0, maximum))]
      },
      { onHalt: (rest) => (rest === "" ? [] : [rest]) }
    )
  )

/** How often the process is asked for its metrics, and how long its answer may be. */
const reportPeriod = "1 second"
const maximumReport = 1024 * 1024

const decodeReport = Schema.decodeUnknownOption(Schema.fromJsonString(Schema.Array(Scene.Metric)))

/** Asks a process for its metrics again and again; one that has no answer is asked in vain. */
const asked = (
  { getInputFd, getOutputFd }: Pick<ChildProcessSpawner.ChildProcessHandle, "getInputFd" | "getOutputFd">,
  tell: (metrics: ReadonlyArray<Scene.Metric>) => Effect.Effect<void>
) => {
  const ask = Stream.map(Stream.tick(reportPeriod), () => Uint8Array.of(10))
  const answers = lines(getOutputFd(3), maximumReport).pipe(
    Stream.changes,
    Stream.runForEach((line) => Option.match(decodeReport(line), { onNone: () => Effect.void, onSome: tell }))
  )
  // What was told last is not so any more once nothing is told.
  return Effect.raceFirst(Stream.run(ask, getInputFd(3)), answers).pipe(Effect.ignore, Effect.andThen(tell([])))
}

/**
 * What is known of the process.
 *
 * @category models
 * @since 0.1.0
 */
export interface State {
  readonly state: Scene.Process
  /** How often it was begun. */
  readonly runs: number
  readonly output: ReadonlyArray<string>
  readonly metrics: ReadonlyArray<Scene.Metric>
}

/**
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* (options: {
  readonly command: readonly [string, ...ReadonlyArray<string>]
  readonly env: Record<string, string>
  readonly directory: string
  /** Hears each line that it says. */
  readonly heard: (line: string) => Effect.Effect<void>
}) {
  const { command, directory, env, heard } = options
  const process = yield* SubscriptionRef.make<State>({ state: { _tag: "Starting" }, runs: 0, output: [], metrics: [] })
  const say = (line: string) =>
    SubscriptionRef.update(process, ({ output, ...rest }) => ({
      ...rest,
      output: [...output.slice(1 - maximumLines), line]
    }))
  const become = (state: Scene.Process) =>
    SubscriptionRef.update(process, (before) => ({
      ...before,
      state,
      metrics: [],
      runs: before.runs + (state._tag === "Starting" ? 1 : 0)
    }))

  const signal = Signal.make()
  let wanted = 0
  const restart = () => {
    wanted++
    signal.notify()
  }

  const runOne = Effect.gen(function* () {
    const begun = wanted
    yield* become({ _tag: "Starting" })
    const [program, ...args] = command
    const run = Effect.gen(function* () {
      const child = yield* ChildProcess.make(program, args, {
        env,
        extendEnv: true,
        stdin: "ignore",
        additionalFds: { fd3: { type: "duplex" } },
        killSignal: "SIGTERM",
        forceKillAfter: grace
      })
      yield* become({ _tag: "Running" })
      yield* Effect.forkScoped(
        asked(child, (metrics) => SubscriptionRef.update(process, (all) => ({ ...all, metrics })))
      )
      const last: Array<string> = []
      yield* lines(child.all, maximumLine).pipe(
        Stream.runForEach((line) => {
          last.push(line)
          if (last.length > lastWords) last.shift()
          return Effect.andThen(say(line), heard(line))
        })
      )
      // Of one that a signal has ended there is no code.
      const how = yield* child.exitCode.pipe(
        Effect.map((code) => `has ended with ${code}`),
        Effect.orElseSucceed(() => "was ended by a signal")
      )
      yield* become({ _tag: "Ended", how, words: last.join("\n") })
    }).pipe(
      Effect.scoped,
      Effect.catch((error) => become({ _tag: "Ended", how: "could not be begun", words: error.message }))
    )
    yield* Effect.raceFirst(
      Effect.andThen(run, Effect.never),
      signal.until(() => wanted > begun)
    )
    yield* Effect.sleep(calm)
  })

  yield* watch(directory, restart)
  yield* Effect.forkScoped(Effect.forever(runOne))
  return { process, restart: Effect.sync(restart) }
})
