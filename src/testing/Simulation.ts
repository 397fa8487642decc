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
import * as Blaze from "../Blaze.ts"
import type * as BlazeError from "../BlazeError.ts"
import * as Handling from "../internal/Handling.ts"
import * as Gzip from "../Gzip.ts"
import type * as Ids from "../Ids.ts"
import * as BlazeServer from "./BlazeServer.ts"
import * as Face from "./internal/Face.ts"
import * as MemoryTransport from "./internal/MemoryTransport.ts"
import * as Plan from "./Plan.ts"
import * as Seeded from "./internal/Seeded.ts"
import * as World from "./internal/World.ts"

/**
 * What is simulated.
 *
 * @category models
 * @since 0.1.0
 */
export interface Subject<D> {
  /** The bot: built anew in each life. */
  readonly bot: Layer.Layer<never, unknown, Blaze.Services | D>
  /** What survives crashes: built once. */
  readonly disk: Layer.Layer<D, unknown>
  /** The library under the bot, built anew in each life: another way of acknowledging, other bounds. */
  readonly blaze: Layer.Layer<Blaze.Services, BlazeError.BlazeError, Blaze.Platform | D>
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

/** What becomes of it, line by line, and what ended it. */
const makeJournal = (world: World.World) => {
  const log: Array<string> = []
  const defects: Array<string> = []
  const numbers = new Map<string, number>()
  let stopped: string | undefined
  let lastFault = 0
  const write = (line: string) => log.push(`${Plan.showTime(world.now())} ${line}`)
  return {
    log,
    defects,
    write,
    /** Messages have long ids: a line names them in the order in which they came up. */
    numberOf: (id: string) => {
      const number = numbers.get(id) ?? numbers.size + 1
      numbers.set(id, number)
      return `#${number}`
    },
    logger: Logger.make(({ cause, logLevel, message }) => {
      const parts = Array.isArray(message) ? message : [message]
      const text = parts.map(String).join(" ")
      const why = cause.reasons.length === 0 ? "" : ` (${Handling.reasonOf(cause)})`
      write(`${logLevel}: ${shorten(text + why, 400)}`)
      if (logLevel === "Fatal") defects.push(`${text}${why}`)
    }),
    noteFault: () => {
      lastFault = world.now()
    },
    lastFault: () => lastFault,
    noteStop: (reason: string) => {
      stopped = reason
    },
    stopped: () => stopped
  }
}
type Journal = ReturnType<typeof makeJournal>

/** What the fibers of a process find around them. */
type ContextOf = (life: World.Life, name: string) => Context.Context<never>

const makeContextOf = (seed: number, logger: Journal["logger"]): ContextOf => {
  const metrics: typeof Metric.MetricRegistry.Service = new Map()
  return (life, name) =>
    Context.empty().pipe(
      Context.add(Scheduler.Scheduler, life.scheduler),
      Context.add(Clock.Clock, life.clock),
      Context.add(Random.Random, Seeded.random(seed, "random", name)),
      Context.add(Logger.CurrentLoggers, new Set([logger])),
      Context.add(Metric.MetricRegistry, metrics),
      Context.add(References.TracerEnabled, false)
    ) as Context.Context<never>
}

// Keys are made by threads of the platform, which is the only thing here that takes real time.
const awaitIn = Effect.fnUntraced(function* <A, E>(world: World.World, fiber: Fiber.Fiber<A, E>) {
  while (fiber.pollUnsafe() === undefined) {
    yield* world.advance(Math.min(world.next() ?? world.now(), world.now() + longestPause))
    yield* Effect.yieldNow
  }
  return yield* Fiber.join(fiber)
})

/** The server and the people, who live as long as the world does, as the disk does. */
const makeEarth = Effect.fnUntraced(function* (world: World.World, seed: number, contextOf: ContextOf) {
  const life = world.begin()
  const context = contextOf(life, "earth")
  const run = Effect.runSyncWith(context)
  const fork = Effect.runForkWith(context)
  const scope = Scope.makeUnsafe()
  const build = <A>(layer: Layer.Layer<A, unknown>) => fork(Layer.buildWithScope(layer, scope))
  const setting = build(
    BlazeServer.layer.pipe(Layer.provide(compression), Layer.provide(Seeded.layerPlatform(seed, "server")))
  )
  const server = Context.get(yield* Effect.orDie(awaitIn(world, setting)), BlazeServer.BlazeServer)
  const account = yield* awaitIn(world, fork(server.makeBot))
  const buildDisk = Effect.fnUntraced(function* <D>(disk: Layer.Layer<D, unknown>) {
    const built = yield* Effect.catchCause(awaitIn(world, build(disk)), (cause) =>
      Effect.die(new Error(`The disk cannot be built: ${Handling.reasonOf(cause)}`))
    )
    return Layer.succeedContext(built)
  })
  const close = Effect.gen(function* () {
    const closing = fork(Scope.close(scope, Exit.void))
    for (let minutes = 0; minutes < closingMinutes && closing.pollUnsafe() === undefined; minutes++) {
      yield* world.advance(world.now() + 60_000)
    }
  })
  return { server, account, run, fork, buildDisk, close, end: () => life.kill(0, () => {}) }
})
type Earth = Effect.Success<ReturnType<typeof makeEarth>>

/** The people and the groups of a plan, by their names. */
const makePlaces = ({ account, run, server }: Earth) => {
  const people = new Map<string, BlazeServer.Person>()
  const groups = new Map<string, Ids.ConversationId>()
  const names = new Map<string, string>()

  const person = (name: string) => {
    const known = people.get(name)
    if (known !== undefined) return known
    const made = run(server.user(account, name))
    people.set(name, made)
    names.set(made.conversationId, name)
    return made
  }
  return {
    person,
    group: (name: string) => {
      const known = groups.get(name)
      if (known !== undefined) return known
      const made = run(server.group(account, Plan.membersOf(name).map(person)))
      groups.set(name, made)
      names.set(made, name)
      return made
    },
    nameOf: (conversation: Ids.ConversationId) => names.get(conversation) ?? "an unknown conversation"
  }
}
type Places = ReturnType<typeof makePlaces>

/** What the buttons say of a message that has some. */
const labelsOf = (message: string | undefined): ReadonlyArray<string> =>
  Option.match(message === undefined ? Option.none() : decodeButtons(message), {
    onNone: () => [],
    onSome: (buttons) => buttons.flatMap(({ action }) => (action.startsWith(input) ? [action.slice(input.length)] : []))
  })

/** What people say and hear. */
const makeTalk = (world: World.World, { numberOf, write }: Journal, { run }: Earth, places: Places) => {
  const said: Array<Said> = []
  const heard: Array<Mutable<Heard>> = []
  /** The last buttons of each place. */
  const buttons = new Map<string, string>()

  const say = (who: string, where: string | undefined, text: string, pressed: boolean) => {
    const sender = places.person(who)
    const id = run(sender.say(text, where === undefined ? undefined : places.group(where)))
    said.push({ id, who, where: where ?? who, text, at: world.now(), pressed })
    const verb = pressed ? "presses" : "says"
    const place = where === undefined ? "" : ` in ${where}`
    write(`${who} ${verb} ${numberOf(id)}${place}: ${JSON.stringify(shorten(text, 80))}`)
  }

  return {
    said,
    heard,
    hear: (event: Extract<BlazeServer.Event, { _tag: "Replied" }>, answers: Heard["answers"]) => {
      const { category, messageId: id, text, to: who } = event
      const where = places.nameOf(event.conversationId)
      heard.push({ id, who, where, category, text, at: world.now(), answers })
      if (category === "APP_BUTTON_GROUP") buttons.set(where, text)
      const place = where === who ? "" : ` in ${where}`
      write(`${who} hears ${numberOf(id)}${place}: ${JSON.stringify(shorten(text, 80))}`)
    },
    act: (event: Plan.Act, byHeart: Options["presses"]): unknown => {
      switch (event.do) {
        case "say":
          return say(event.who, event.where, event.text, false)
        case "press": {
          const labels = labelsOf(buttons.get(event.who))
          const text =
            byHeart === undefined ? labels[event.nth % labels.length] : byHeart.get(`${world.now()} ${event.who}`)
          return text !== undefined && say(event.who, undefined, text, true)
        }
        case "read":
          return run(places.person(event.who).reads)
      }
    }
  }
}
type Talk = ReturnType<typeof makeTalk>

/** The runs of handlers, and which of them sent what. */
const makeRuns = (world: World.World) => {
  const runs: Array<MutableRun> = []
  const answers = new Map<string, Array<Heard["answers"][number]>>()
  const watch = (life: World.Life, number: number): Handling.Watch => ({
    // What every handler does, whoever wrote it: which message it is for, when it began and ended, and what it cost.
    around: (message, handled) =>
      Effect.suspend(() => {
        const before = life.steps()
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
            run.success = Exit.isSuccess(exit) && Handling.outcomeOf(exit.value) === "Ack"
            run.deferred = Exit.isSuccess(exit) && Handling.outcomeOf(exit.value) === "Defer"
            run.steps = life.steps() - before
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
  return { runs, watch, answersOf: (id: Ids.MessageId): Heard["answers"] => answers.get(id) ?? [] }
}
type Runs = ReturnType<typeof makeRuns>

/** Writes down what the server tells. */
const makeObserver = (world: World.World, { numberOf, write }: Journal, talk: Talk, runs: Runs) => {
  const acknowledged: Array<Outcome["acknowledged"][number]> = []
  const observe = (event: BlazeServer.Event): unknown => {
    switch (event._tag) {
      case "Replied":
        return talk.hear(event, runs.answersOf(event.messageId))
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
  return { acknowledged, observe }
}

/** The bot in one life. */
interface BotLife {
  readonly life: World.Life
  readonly number: number
  readonly path: MemoryTransport.Path
  readonly fiber: Fiber.Fiber<never, unknown>
  /** It was asked to end. */
  isEnding: boolean
}

const lose = (bot: BotLife) => {
  for (const disconnect of bot.path.connections) disconnect()
}

/** The lives of a bot, one after the other. */
const makeLives = (
  world: World.World,
  { noteFault, noteStop, write }: Journal,
  fork: Earth["fork"],
  launch: (life: World.Life, number: number) => Omit<BotLife, "isEnding">
) => {
  let count = 0
  let current: BotLife | undefined
  let clockOffset = 0

  const begin = () => {
    const life = world.begin()
    const number = ++count
    life.setClock(clockOffset)
    if (number > 1) noteFault()
    write(`life ${number} begins`)
    const bot: BotLife = { ...launch(life, number), isEnding: false }
    current = bot
    bot.fiber.addObserver((exit) => {
      if (!life.isAlive() || bot.isEnding || !Exit.isFailure(exit)) return
      const reason = Handling.reasonOf(exit.cause)
      noteStop(reason)
      write(`the bot has ended: ${reason}`)
    })
  }

  return {
    begin,
    count: () => count,
    setClock: (by: number) => {
      clockOffset = by
      current?.life.setClock(by)
    },
    kill: (steps: number, down: number) => {
      const bot = current
      if (bot === undefined || !bot.life.isAlive()) return
      bot.life.kill(steps, () => {
        write(`life ${bot.number} is killed`)
        lose(bot)
        world.at(world.now() + down, undefined, begin)
      })
    },
    restart: (down: number) => {
      const bot = current
      if (bot === undefined || !bot.life.isAlive() || bot.isEnding) return
      bot.isEnding = true
      write(`life ${bot.number} is asked to end`)
      fork(Fiber.interrupt(bot.fiber)).addObserver(() => {
        bot.isEnding = false
        if (!bot.life.isAlive()) return
        write(`life ${bot.number} has ended`)
        bot.life.kill(0, () => {
          lose(bot)
          world.at(world.now() + down, undefined, begin)
        })
      })
    },
    /** No other life comes after this one. */
    end: () => current?.life.kill(0, () => {})
  }
}
type Lives = ReturnType<typeof makeLives>

/** What goes wrong, and what is well again. */
const makeWeather =
  ({ write }: Journal, { account, run, server }: Earth, lives: Lives) =>
  (event: Plan.Weather): unknown => {
    switch (event.do) {
      case "inject":
        write(`goes wrong: ${JSON.stringify(event.fault)}`)
        return run(server.inject(event.fault))
      case "heal":
        return run(server.heal)
      case "cut":
        return run(account.cut)
      case "close":
        return run(account.close(event.code, "as planned"))
      case "halfOpen":
        write("every connection is half-open")
        return run(account.halfOpen)
      case "garbage":
        return run(account.push(new TextEncoder().encode("this is no gzip")))
      case "serverClock":
        write(`the server's clock is off by ${event.by} ms`)
        return run(server.setClockOffset(event.by))
      case "botClock":
        write(`the bot's clock is off by ${event.by} ms`)
        return lives.setClock(event.by)
      case "kill":
        return lives.kill(event.steps, event.down)
      case "restart":
        return lives.restart(event.down)
    }
  }

const makeStage = (
  world: World.World,
  { account, server }: Earth,
  { person }: Places,
  act: (event: Plan.Event) => unknown
): Stage => ({
  server,
  account,
  person,
  pass: (duration) => Effect.suspend(() => world.advance(world.now() + Duration.toMillis(duration))),
  perform: (event) =>
    Effect.andThen(
      Effect.suspend(() => world.advance(Math.max(world.now(), event.at))),
      Effect.sync(() => void act(event))
    )
})

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
  const journal = makeJournal(world)
  const contextOf = makeContextOf(seed, journal.logger)
  const earth = yield* makeEarth(world, seed, contextOf)
  const { account, server } = earth
  const disk = yield* earth.buildDisk(subject.disk)
  const places = makePlaces(earth)
  const talk = makeTalk(world, journal, earth, places)
  const runs = makeRuns(world)
  const { acknowledged, observe } = makeObserver(world, journal, talk, runs)
  Face.of(server).listen(observe)
  yield* world.advance(0)

  const lives = makeLives(world, journal, earth.fork, (life, number) => {
    const path = makePath(world, life, seed)
    const transport = Layer.effectContext(MemoryTransport.make(server, account, path))
    const program = subject.bot.pipe(
      Layer.provide(subject.blaze),
      Layer.provide(Layer.mergeAll(transport, Seeded.layerPlatform(seed, "life", number))),
      Layer.provide(disk)
    )
    const context = contextOf(life, `life ${number}`).pipe(
      Context.add(Handling.Observer, runs.watch(life, number))
    ) as Context.Context<never>
    return { life, number, path, fiber: Effect.runForkWith(context)(Layer.launch(program)) }
  })
  const weather = makeWeather(journal, earth, lives)

  const stage = makeStage(world, earth, places, (event) => {
    if (options.keep?.(event) === false) return
    if (Plan.isAct(event)) return talk.act(event, options.presses)
    if (event.do !== "heal") journal.noteFault()
    return weather(event)
  })

  yield* Effect.gen(function* () {
    lives.begin()
    yield* story(stage)
    // The weather clears up, whatever was still to go wrong.
    earth.run(server.heal)
    if (options.reconnect === true && journal.lastFault() > 0) earth.run(account.cut)
    yield* stage.pass(rest)
  }).pipe(
    Effect.catchDefect((defect) => {
      if (!(defect instanceof World.Standstill)) return Effect.die(defect)
      journal.noteStop(defect.message)
      return Effect.void
    }),
    Effect.ensuring(Effect.andThen(Effect.sync(lives.end), earth.close))
  )
  const byId = new Map(talk.said.map((message) => [message.id, message]))
  const outcome: Outcome = {
    log: journal.log,
    said: talk.said,
    heard: talk.heard,
    runs: runs.runs,
    acknowledged,
    pending: earth.run(account.pending).flatMap((id) => byId.get(id) ?? []),
    defects: journal.defects,
    stopped: journal.stopped(),
    lives: lives.count(),
    handshakes: earth.run(account.handshakes),
    lastFault: journal.lastFault()
  }
  earth.end()
  return outcome
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
