/**
 * One bot, its server, its people and its network in one `World`, from the first event to the rest after the last.
 *
 * Guarantee: the same bot, seed and events give the same outcome, to the letter; a bot that is killed keeps nothing but its disk.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as References from "effect/References"
import * as Schema from "effect/Schema"
import * as Scheduler from "effect/Scheduler"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Blaze from "../Blaze.ts"
import type * as BlazeError from "../BlazeError.ts"
import * as Delivery from "../Delivery.ts"
import * as Gzip from "../Gzip.ts"
import type * as Ids from "../Ids.ts"
import * as BlazeServer from "./BlazeServer.ts"
import * as MemoryTransport from "./MemoryTransport.ts"
import * as Plan from "./Plan.ts"
import * as Seeded from "./Seeded.ts"
import * as World from "./World.ts"

/**
 * What is simulated.
 *
 * @category models
 * @since 0.1.0
 */
export interface Subject<D> {
  /** The bot: built anew in each life. */
  readonly bot: Layer.Layer<never, unknown, Blaze.Blaze | D>
  /** What survives crashes: built once. */
  readonly disk: Layer.Layer<D, unknown>
  /** The library under the bot, built anew in each life: another way of acknowledging, other bounds. */
  readonly blaze: Layer.Layer<Blaze.Blaze, BlazeError.BlazeError, Blaze.Platform | D>
  /** Tasks that are ready at once run in random order, by the seed. */
  readonly shuffled: boolean
}

/**
 * A message of a person. `where` is the group, or else the person's own name; times are milliseconds from the beginning.
 *
 * @category models
 * @since 0.1.0
 */
export interface Said {
  readonly id: Ids.MessageId
  readonly who: string
  readonly where: string
  readonly text: string
  readonly at: number
  /** It came from a button. */
  readonly pressed: boolean
}

/**
 * A message of the bot, as one person gets it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Heard {
  readonly id: Ids.MessageId
  readonly who: string
  readonly where: string
  readonly category: string
  readonly text: string
  readonly at: number
  /** The messages that it answers, with the run of the handler that sent it, as far as that is known. */
  readonly answers: ReadonlyArray<{
    readonly id: Ids.MessageId
    readonly run: Run | undefined
    /** That run had ended before. */
    readonly late: boolean
  }>
}

/**
 * One run of a handler.
 *
 * @category models
 * @since 0.1.0
 */
export interface Run {
  readonly message: Ids.MessageId
  readonly conversation: Ids.ConversationId
  readonly life: number
  readonly began: number
  /** `Infinity` for one that was killed, or goes on. */
  readonly ended: number
  /** It acknowledged its message. */
  readonly success: boolean
  /** It said that it wants its message again later. */
  readonly deferred: boolean
  /** How many steps the bot took meanwhile. */
  readonly steps: number
}

/**
 * What happened.
 *
 * @category models
 * @since 0.1.0
 */
export interface Outcome {
  readonly log: ReadonlyArray<string>
  readonly said: ReadonlyArray<Said>
  readonly heard: ReadonlyArray<Heard>
  readonly runs: ReadonlyArray<Run>
  readonly acknowledged: ReadonlyArray<{ readonly id: Ids.MessageId; readonly at: number }>
  /** What the server still has in the end. */
  readonly pending: ReadonlyArray<Said>
  readonly defects: ReadonlyArray<string>
  /** Why the bot ended, if it did. */
  readonly stopped: string | undefined
  readonly lives: number
  readonly handshakes: number
  /** When the last thing went wrong. */
  readonly lastFault: number
}

/**
 * A simulation that runs.
 *
 * @category models
 * @since 0.1.0
 */
export interface Stage {
  readonly server: BlazeServer.BlazeServer["Service"]
  readonly account: BlazeServer.BotAccount
  readonly person: (name: string) => BlazeServer.Person
  /** Lets time pass. */
  readonly pass: (duration: Duration.Input) => Effect.Effect<void>
  /** Lets time pass until an event is due, and has it happen. */
  readonly perform: (event: Plan.Event) => Effect.Effect<void>
}

/**
 * What of a story is left out.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** Whether an event happens. */
  readonly keep?: ((event: Plan.Event) => boolean) | undefined
  /** In the end there is a fresh connection, which brings what was passed over with a bad frame. */
  readonly reconnect?: boolean | undefined
  /** What the buttons said in another run of the story, for people who press them by heart. */
  readonly presses?: ReadonlyMap<string, string> | undefined
}

/**
 * What the buttons said that were pressed.
 *
 * @category models
 * @since 0.1.0
 */
export const presses = (outcome: Outcome): ReadonlyMap<string, string> =>
  new Map(outcome.said.flatMap(({ at, pressed, text, who }) => (pressed ? [[`${at} ${who}`, text] as const] : [])))

/** How long a simulation goes on after its last event, for everything to come to rest. */
const rest = "3 hours"

/** How long a pause may be while everything is set up, in milliseconds. */
const longestPause = 3_600_000

/** How long the disk may take to close. */
const closingMinutes = 60

const epoch = Date.UTC(2026, 0, 1)

/** For which message a handler runs. */
const Cause = Context.Reference<MutableRun | undefined>("effect-blaze/testing/Simulation/Cause", {
  defaultValue: () => undefined
})

type Mutable<A> = { -readonly [Key in keyof A]: A[Key] }
type MutableRun = Mutable<Run>

const decodeButtons = Schema.decodeUnknownOption(
  Schema.fromJsonString(Schema.Array(Schema.Struct({ action: Schema.String })))
)
const input = "input:"

// The codec of the client, which makes nothing smaller that is small: that of the real server would take half of the time.
const compression = Layer.effect(
  BlazeServer.Compression,
  Effect.map(Gzip.Gzip, ({ gzip }) => gzip)
)

const shorten = (text: string, length: number) => (text.length > length ? `${text.slice(0, length)}...` : text)

/** From 5 to 205 milliseconds, mostly short, by the time and the direction alone. */
const latency = (seed: number, now: number, direction: string) =>
  5 + Math.floor(200 * Seeded.number(seed, direction, now) ** 2)

const makePath = (world: World.World, life: World.Life, seed: number): MemoryTransport.Path => {
  const takes = (direction: string) => latency(seed, world.now(), direction)
  // What is sent while the last frame is still on its way arrives with it, half the time.
  let arrivals: Map<() => void, () => void> | undefined
  let lastIn = 0
  let lastOut = 0
  return {
    // TCP, TLS, and the upgrade itself.
    beforeUpgrade: Effect.suspend(() => Effect.sleep(3 * takes("upgrade"))),
    toClient: (arrive, then) => {
      const at = Math.max(lastIn, world.now() + takes("in"))
      const joins = Seeded.number(seed, "together", world.now()) < 0.5
      if (at === lastIn && arrivals !== undefined && joins) return void arrivals.set(arrive, then)
      lastIn = at
      const together = new Map([[arrive, then]])
      arrivals = together
      world.at(at, life, () => {
        if (arrivals === together) arrivals = undefined
        for (const arrive of together.keys()) arrive()
        for (const then of new Set(together.values())) then()
      })
    },
    // What is on its way arrives, though who sent it is killed meanwhile.
    toServer: (arrive) => {
      lastOut = Math.max(lastOut, world.now() + takes("out"))
      world.at(lastOut, undefined, arrive)
    },
    request: (serve) =>
      Effect.callback((resume) => {
        let isAwaited = true
        world.at(world.now() + takes("request"), undefined, () => {
          const answer = Effect.runSyncExit(serve)
          world.at(world.now() + takes("answer"), life, () => {
            if (isAwaited) resume(answer)
          })
        })
        return Effect.sync(() => {
          isAwaited = false
        })
      }),
    connections: new Set()
  }
}

/**
 * Runs a story, and tells what happened.
 *
 * @category running
 * @since 0.1.0
 */
export const run = Effect.fnUntraced(function* <D, E>(
  subject: Subject<D>,
  seed: number,
  story: (stage: Stage) => Effect.Effect<void, E>,
  options: Options = {}
): Effect.fn.Return<Outcome, E> {
  const world = World.make({ epoch, order: subject.shuffled ? Seeded.random(seed, "order") : undefined })
  const log: Array<string> = []
  const write = (line: string) => log.push(`${Plan.showTime(world.now())} ${line}`)
  const defects: Array<string> = []
  const metrics: typeof Metric.MetricRegistry.Service = new Map()
  const logger = Logger.make(({ cause, logLevel, message }) => {
    const parts = Array.isArray(message) ? message : [message]
    const text = parts.map(String).join(" ")
    const why = cause.reasons.length === 0 ? "" : ` (${Delivery.reasonOf(cause)})`
    write(`${logLevel}: ${shorten(text + why, 400)}`)
    if (logLevel === "Fatal") defects.push(`${text}${why}`)
  })

  const contextOf = (life: World.Life, name: string) =>
    Context.empty().pipe(
      Context.add(Scheduler.Scheduler, life.scheduler),
      Context.add(Clock.Clock, life.clock),
      Context.add(Random.Random, Seeded.random(seed, "random", name)),
      Context.add(Logger.CurrentLoggers, new Set([logger])),
      Context.add(Metric.MetricRegistry, metrics),
      Context.add(References.TracerEnabled, false)
    ) as Context.Context<never>

  // The server, the people and the disk live as long as the world does.
  const earth = world.begin()
  const earthContext = contextOf(earth, "earth")
  const runOnEarth = Effect.runSyncWith(earthContext)
  const forkOnEarth = Effect.runForkWith(earthContext)
  const scope = Scope.makeUnsafe()
  const build = <A>(layer: Layer.Layer<A, unknown>) => forkOnEarth(Layer.buildWithScope(layer, scope))
  const setting = build(
    BlazeServer.layer.pipe(Layer.provide(compression), Layer.provide(Seeded.layerPlatform(seed, "server")))
  )
  // Keys are made by threads of the platform, which is the only thing here that takes real time.
  const awaited = Effect.fnUntraced(function* <A, E>(fiber: Fiber.Fiber<A, E>) {
    while (fiber.pollUnsafe() === undefined) {
      yield* world.advance(Math.min(world.next() ?? world.now(), world.now() + longestPause))
      yield* Effect.yieldNow
    }
    return yield* Fiber.join(fiber)
  })
  const server = Context.get(yield* Effect.orDie(awaited(setting)), BlazeServer.BlazeServer)
  const account = yield* awaited(forkOnEarth(server.makeBot))
  const disk = Layer.succeedContext(
    yield* Effect.catchCause(awaited(build(subject.disk)), (cause) =>
      Effect.die(new Error(`The disk cannot be built: ${Delivery.reasonOf(cause)}`))
    )
  )

  const said: Array<Said> = []
  const heard: Array<Mutable<Heard>> = []
  const acknowledged: Array<{ id: Ids.MessageId; at: number }> = []
  const runs: Array<MutableRun> = []
  const answers = new Map<string, Array<Heard["answers"][number]>>()
  /** The last buttons of each place. */
  const buttons = new Map<string, string>()
  const places = new Map<string, string>()
  const numbers = new Map<string, number>()
  const numberOf = (id: string) => {
    const number = numbers.get(id) ?? numbers.size + 1
    numbers.set(id, number)
    return `#${number}`
  }

  const people = new Map<string, BlazeServer.Person>()
  const person = (name: string) => {
    const known = people.get(name)
    if (known !== undefined) return known
    const made = runOnEarth(server.user(account, name))
    people.set(name, made)
    places.set(made.conversationId, name)
    return made
  }
  const groups = new Map<string, Ids.ConversationId>()

  const observe = (event: BlazeServer.Event): unknown => {
    switch (event._tag) {
      case "Replied": {
        const { category, messageId: id, text, to: who } = event
        const where = places.get(event.conversationId) ?? "an unknown conversation"
        heard.push({ id, who, where, category, text, at: world.now(), answers: answers.get(id) ?? [] })
        if (category === "APP_BUTTON_GROUP") buttons.set(where, text)
        const place = where === who ? "" : ` in ${where}`
        return write(`${who} hears ${numberOf(id)}${place}: ${JSON.stringify(shorten(text, 80))}`)
      }
      case "Acknowledged":
        for (const id of event.messageIds) acknowledged.push({ id, at: world.now() })
        return write(`acknowledged ${event.messageIds.map(numberOf).join(" ")}`)
      case "Disconnected":
        return write(`a connection ends with ${event.code}`)
      case "Refused":
        return write(`a handshake is refused with ${event.status}`)
      case "Connected":
        return write("connected")
      case "Said":
      case "Receipt":
        return
    }
  }
  forkOnEarth(Stream.runForEach(server.events, (event) => Effect.sync(() => observe(event))))
  yield* world.advance(0)

  let lives = 0
  let life: World.Life | undefined
  let path: MemoryTransport.Path | undefined
  let fiber: Fiber.Fiber<never, unknown> | undefined
  let isEnding = false
  let stopped: string | undefined
  let lastFault = 0
  let clockOffset = 0

  const watch = (current: World.Life, number: number): Delivery.Watch => ({
    // What every handler does, whoever wrote it: which message it is for, when it began and ended, and what it cost.
    around: (message, handled) =>
      Effect.suspend(() => {
        const before = current.steps()
        const run: MutableRun = {
          message: message.id,
          conversation: message.conversationId,
          life: number,
          began: world.now(),
          ended: Infinity,
          success: false,
          deferred: false,
          steps: 0
        }
        runs.push(run)
        return Effect.onExit(Effect.provideService(handled, Cause, run), (exit) =>
          Effect.sync(() => {
            run.ended = world.now()
            run.success = Exit.isSuccess(exit) && Delivery.outcomeOf(exit.value) === "Ack"
            run.deferred = Exit.isSuccess(exit) && Delivery.outcomeOf(exit.value) === "Defer"
            run.steps = current.steps() - before
          })
        )
      }),
    sending: (id, answered) =>
      Effect.map(Cause, (run) => {
        const cause = answered ?? run?.message
        if (cause === undefined) return
        const known = answers.get(id) ?? []
        known.push({ id: cause, run, late: run !== undefined && run.ended !== Infinity })
        answers.set(id, known)
      })
  })

  const begin = () => {
    const current = world.begin()
    const number = ++lives
    isEnding = false
    current.setClock(clockOffset)
    if (number > 1) lastFault = world.now()
    life = current
    path = makePath(world, current, seed)
    const transport = Layer.effectContext(MemoryTransport.make(server, account, path))
    const program = subject.bot.pipe(
      Layer.provide(subject.blaze),
      Layer.provide(Layer.mergeAll(transport, Seeded.layerPlatform(seed, "life", number))),
      Layer.provide(disk)
    )
    const context = contextOf(current, `life ${number}`).pipe(
      Context.add(Delivery.Observer, watch(current, number))
    ) as Context.Context<never>
    write(`life ${number} begins`)
    fiber = Effect.runForkWith(context)(Layer.launch(program))
    fiber.addObserver((exit) => {
      if (!current.isAlive() || isEnding || !Exit.isFailure(exit)) return
      stopped = Delivery.reasonOf(exit.cause)
      write(`the bot has ended: ${stopped}`)
    })
  }
  const lose = () => {
    for (const disconnect of path?.connections ?? []) disconnect()
  }

  const group = (name: string) => {
    const known = groups.get(name)
    if (known !== undefined) return known
    const made = runOnEarth(server.group(account, Plan.membersOf(name).map(person)))
    groups.set(name, made)
    places.set(made, name)
    return made
  }

  const say = (who: string, where: string | undefined, text: string, pressed: boolean) => {
    const sender = person(who)
    const id = runOnEarth(sender.say(text, where === undefined ? undefined : group(where)))
    said.push({ id, who, where: where ?? who, text, at: world.now(), pressed })
    const verb = pressed ? "presses" : "says"
    const place = where === undefined ? "" : ` in ${where}`
    write(`${who} ${verb} ${numberOf(id)}${place}: ${JSON.stringify(shorten(text, 80))}`)
  }

  /** What the buttons say that the bot last sent to somebody. */
  const buttonsOf = (who: string): ReadonlyArray<string> => {
    const last = buttons.get(who)
    return Option.match(last === undefined ? Option.none() : decodeButtons(last), {
      onNone: () => [],
      onSome: (buttons) =>
        buttons.flatMap(({ action }) => (action.startsWith(input) ? [action.slice(input.length)] : []))
    })
  }

  const kill = (steps: number, down: number) => {
    const current = life
    if (current === undefined || !current.isAlive()) return
    const number = lives
    current.kill(steps, () => {
      write(`life ${number} is killed`)
      lose()
      world.at(world.now() + down, undefined, begin)
    })
  }

  const restart = (down: number) => {
    const current = life
    if (current === undefined || !current.isAlive() || fiber === undefined || isEnding) return
    const number = lives
    isEnding = true
    write(`life ${number} is asked to end`)
    forkOnEarth(Fiber.interrupt(fiber)).addObserver(() => {
      isEnding = false
      if (!current.isAlive()) return
      write(`life ${number} has ended`)
      current.kill(0, () => {
        lose()
        world.at(world.now() + down, undefined, begin)
      })
    })
  }

  const act = (event: Plan.Event): unknown => {
    if (!Plan.isAct(event) && event.do !== "heal") lastFault = world.now()
    switch (event.do) {
      case "say":
        return say(event.who, event.where, event.text, false)
      case "press": {
        const labels = buttonsOf(event.who)
        const text =
          options.presses === undefined
            ? labels[event.nth % labels.length]
            : options.presses.get(`${world.now()} ${event.who}`)
        return text !== undefined && say(event.who, undefined, text, true)
      }
      case "read":
        return runOnEarth(person(event.who).reads)
      case "inject":
        write(`goes wrong: ${JSON.stringify(event.fault)}`)
        return runOnEarth(server.inject(event.fault))
      case "heal":
        return runOnEarth(server.heal)
      case "cut":
        return runOnEarth(account.cut)
      case "close":
        return runOnEarth(account.close(event.code, "as planned"))
      case "halfOpen":
        write("every connection is half-open")
        return runOnEarth(account.halfOpen)
      case "garbage":
        return runOnEarth(account.push(new TextEncoder().encode("this is no gzip")))
      case "serverClock":
        write(`the server's clock is off by ${event.by} ms`)
        return runOnEarth(server.setClockOffset(event.by))
      case "botClock":
        write(`the bot's clock is off by ${event.by} ms`)
        clockOffset = event.by
        return life?.setClock(event.by)
      case "kill":
        return kill(event.steps, event.down)
      case "restart":
        return restart(event.down)
    }
  }

  const stage: Stage = {
    server,
    account,
    person,
    pass: (duration) => Effect.suspend(() => world.advance(world.now() + Duration.toMillis(duration))),
    perform: (event) =>
      Effect.andThen(
        Effect.suspend(() => world.advance(Math.max(world.now(), event.at))),
        Effect.sync(() => {
          if (options.keep?.(event) !== false) act(event)
        })
      )
  }

  const close = Effect.gen(function* () {
    life?.kill(0, () => {})
    const closing = forkOnEarth(Scope.close(scope, Exit.void))
    for (let minutes = 0; minutes < closingMinutes && closing.pollUnsafe() === undefined; minutes++) {
      yield* world.advance(world.now() + 60_000)
    }
  })

  yield* Effect.gen(function* () {
    begin()
    yield* story(stage)
    // The weather clears up, whatever was still to go wrong.
    runOnEarth(server.heal)
    if (options.reconnect === true && lastFault > 0) runOnEarth(account.cut)
    yield* stage.pass(rest)
  }).pipe(
    Effect.catchDefect((defect) => {
      if (!(defect instanceof World.Standstill)) return Effect.die(defect)
      stopped = defect.message
      return Effect.void
    }),
    Effect.ensuring(close)
  )
  const byId = new Map(said.map((message) => [message.id, message]))
  const pending = runOnEarth(account.pending).flatMap((id) => byId.get(id) ?? [])
  const handshakes = runOnEarth(account.handshakes)
  earth.kill(0, () => {})
  return { log, said, heard, runs, acknowledged, pending, defects, stopped, lives, handshakes, lastFault }
})

/**
 * The story of a plan.
 *
 * @category running
 * @since 0.1.0
 */
export const follow =
  (plan: Plan.Plan) =>
  (stage: Stage): Effect.Effect<void> =>
    Effect.forEach(plan.events, stage.perform, { discard: true })
