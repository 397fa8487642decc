// What the operators of Stream do to acknowledgements: eight messages go through each, and whatever comes out is handled. Every operator that
// the installed Stream has stands in one of the lists below, and in the table of docs/pipelines.md.
import { assert, describe, it } from "@effect/vitest"
import { Cause, Channel, Effect, Filter, Option, Predicate, Result, Schedule, type Scope, Sink, Stream } from "effect"
import { Blaze, type BlazeError, Delivery, Keyed } from "effect-blaze"
import { BlazeTest } from "effect-blaze/testing"
import { readFileSync } from "node:fs"
import { client, lines, pass, textOf } from "./support.ts"
import * as Handling from "../src/internal/Handling.ts"

type Deliveries = Stream.Stream<Delivery.Delivery, BlazeError.BlazeError>
/** Elements with deliveries in them, at any depth. */
type Operator = (self: Deliveries) => Stream.Stream<unknown, unknown, Scope.Scope>

const isNot2 = (delivery: Delivery.Delivery) => textOf(delivery) !== "2"
const not2 = Filter.fromPredicate(isNot2)
const succeed = Effect.succeed<Delivery.Delivery>
const identity = <A>(a: A) => a
const never: Stream.Stream<never> = Stream.never
const pause = Effect.sleep("100 millis")

/** Whatever goes in comes out. */
const keeps: Readonly<Record<string, Operator>> = {
  as: (s) => Stream.flatMap(s, (one) => Stream.as(Stream.make(0), one)),
  bind: (s) => Stream.bind(Stream.bindTo(s, "one"), "two", () => Stream.make(1)),
  bindTo: (s) => Stream.bindTo(s, "one"),
  bindEffect: (s) => Stream.bindEffect(Stream.bindTo(s, "one"), "two", () => Effect.succeed(1)),
  let: (s) => Stream.let(Stream.bindTo(s, "one"), "two", () => 1),
  buffer: (s) => Stream.buffer(s, { capacity: 2 }),
  bufferArray: (s) => Stream.bufferArray(s, { capacity: 2 }),
  catchCause: (s) => Stream.catchCause(s, () => Stream.empty),
  catchCauseFilter: (s) => Stream.catchCauseFilter(s, Filter.fromPredicate(Cause.hasDies), () => Stream.empty),
  catchCauseIf: (s) => Stream.catchCauseIf(s, Cause.hasDies, () => Stream.empty),
  catch: (s) => Stream.catch(s, () => Stream.empty),
  catchDefect: (s) => Stream.catchDefect(s, () => Stream.empty),
  catchIf: (s) =>
    Stream.catchIf(
      s,
      () => true,
      () => Stream.empty
    ),
  catchTag: (s) => Stream.catchTag(s, "BlazeError", () => Stream.empty),
  chunks: (s) => Stream.chunks(s),
  collect: (s) => Stream.chunks(s),
  concat: (s) => Stream.concat(Stream.take(s, 3), s),
  drainFork: (s) => Stream.drainFork(s, Stream.make(1)),
  ensuring: (s) => Stream.ensuring(s, Effect.void),
  flatMap: (s) => Stream.flatMap(s, (one) => Stream.make(one)),
  flatten: (s) => Stream.flatten(Stream.map(s, (one) => Stream.make(one))),
  flattenArray: (s) => Stream.flattenArray(Stream.map(s, (one) => [one] as const)),
  flattenEffect: (s) => Stream.flattenEffect(Stream.map(s, succeed)),
  flattenIterable: (s) => Stream.flattenIterable(Stream.map(s, (one) => [one])),
  groupByKey: (s) => Stream.flatMap(Stream.groupByKey(s, textOf), ([, own]) => own, { concurrency: "unbounded" }),
  groupBy: (s) =>
    Stream.flatMap(
      Stream.groupBy(s, (one) => Effect.succeed([textOf(one), one] as const)),
      ([, own]) => own,
      { concurrency: "unbounded" }
    ),
  groupedWithin: (s) => Stream.groupedWithin(s, 3, "1 second"),
  accumulate: (s) => Stream.map(Stream.accumulate(s), (all) => all.at(-1)),
  aggregate: (s) => Stream.aggregate(s, Sink.take<Delivery.Delivery>(1)),
  aggregateWithin: (s) => Stream.aggregateWithin(s, Sink.take<Delivery.Delivery>(3), Schedule.spaced("1 second")),
  transduce: (s) => Stream.transduce(s, Sink.take<Delivery.Delivery>(1)),
  interleave: (s) => Stream.interleave(s, Stream.forever(Stream.make(1))),
  interleaveWith: (s) => Stream.interleaveWith(s, never, Stream.forever(Stream.make(true))),
  interruptWhen: (s) => Stream.interruptWhen(s, Effect.never),
  haltWhen: (s) => Stream.haltWhen(s, Effect.never),
  intersperse: (s) => Stream.intersperse(s, 0),
  map: (s) => Stream.map(s, identity),
  mapAccum: (s) =>
    Stream.mapAccum(
      s,
      () => 0,
      (n, one) => [n + 1, [one]]
    ),
  mapAccumArray: (s) =>
    Stream.mapAccumArray(
      s,
      () => 0,
      (n, all) => [n, all]
    ),
  mapAccumArrayEffect: (s) =>
    Stream.mapAccumArrayEffect(
      s,
      () => 0,
      (n, all) => Effect.succeed([n, all])
    ),
  mapAccumEffect: (s) =>
    Stream.mapAccumEffect(
      s,
      () => 0,
      (n, one) => Effect.succeed([n + 1, [one]])
    ),
  mapArray: (s) => Stream.mapArray(s, identity),
  mapArrayEffect: (s) => Stream.mapArrayEffect(s, Effect.succeed),
  mapBoth: (s) => Stream.mapBoth(s, { onElement: identity, onError: identity }),
  mapEffect: (s) => Stream.mapEffect(s, succeed, { concurrency: 4, unordered: true }),
  mapError: (s) => Stream.mapError(s, identity),
  merge: (s) => Stream.merge(s, Stream.make(1)),
  mergeAll: (s) => Stream.mergeAll([s, never], { concurrency: 2 }),
  mergeEffect: (s) => Stream.mergeEffect(s, Effect.void),
  mergeLeft: (s) => Stream.mergeLeft(s, never),
  mergeRight: (s) => Stream.mergeRight(never, s),
  mergeResult: (s) => Stream.mergeResult(s, never),
  onEnd: (s) => Stream.onEnd(s, Effect.void),
  onError: (s) => Stream.onError(s, () => Effect.void),
  onExit: (s) => Stream.onExit(s, () => Effect.void),
  onFirst: (s) => Stream.onFirst(s, () => Effect.void),
  onStart: (s) => Stream.onStart(s, Effect.void),
  orDie: (s) => Stream.orDie(s),
  orElseIfEmpty: (s) => Stream.orElseIfEmpty(s, () => Stream.empty),
  orElseSucceed: (s) => Stream.orElseSucceed(s, () => 0),
  pipeThrough: (s) => Stream.fromEffect(Stream.run(Stream.take(s, 8), Sink.collect<Delivery.Delivery>())),
  pipeThroughChannel: (s) => Stream.pipeThroughChannel(s, Channel.identity()),
  pipeThroughChannelOrFail: (s) => Stream.pipeThroughChannelOrFail(s, Channel.identity()),
  prepend: (s) => Stream.prepend(s, [0]),
  race: (s) => Stream.race(s, never),
  raceAll: (s) => Stream.raceAll(s, never),
  result: (s) => Stream.map(Stream.result(s), (one) => Result.getOrThrow(one)),
  retry: (s) => Stream.retry(s, Schedule.recurs(1)),
  scan: (s) =>
    Stream.scan(
      s,
      (): Delivery.Delivery | undefined => undefined,
      (_, one) => one
    ),
  scanEffect: (s) =>
    Stream.scanEffect(
      s,
      (): Delivery.Delivery | undefined => undefined,
      (_, one) => succeed(one)
    ),
  schedule: (s) => Stream.schedule(s, Schedule.spaced("100 millis")),
  scoped: (s) => Stream.scoped(s),
  slidingSize: (s) => Stream.slidingSize(s, 2, 2),
  takeUntil: (s) => Stream.takeUntil(s, () => false),
  takeUntilEffect: (s) => Stream.takeUntilEffect(s, () => Effect.succeed(false)),
  tap: (s) => Stream.tap(s, () => Effect.void),
  tapBoth: (s) => Stream.tapBoth(s, { onElement: () => Effect.void, onError: () => Effect.void }),
  tapCause: (s) => Stream.tapCause(s, () => Effect.void),
  tapDefect: (s) => Stream.tapDefect(s, () => Effect.void),
  tapError: (s) => Stream.tapError(s, () => Effect.void),
  tapErrorTag: (s) => Stream.tapErrorTag(s, "BlazeError", () => Effect.void),
  tapSink: (s) => Stream.tapSink(s, Sink.drain),
  throttle: (s) => Stream.throttle(s, { cost: (all) => all.length, units: 1, duration: "1 second" }),
  throttleEffect: (s) =>
    Stream.throttleEffect(s, { cost: (all) => Effect.succeed(all.length), units: 1, duration: "1 second" }),
  timeout: (s) => Stream.timeout(s, "1 hour"),
  timeoutOrElse: (s) => Stream.timeoutOrElse(s, { duration: "1 hour", orElse: () => never }),
  transformPull: (s) => Stream.transformPull(s, (pull) => Effect.succeed(pull)),
  transformPullBracket: (s) => Stream.transformPullBracket(s, (pull) => Effect.succeed(pull)),
  unwrap: (s) => Stream.unwrap(Effect.succeed(s)),
  updateContext: (s) => Stream.updateContext(s, identity),
  when: (s) => Stream.when(s, Effect.succeed(true)),
  withSpan: (s) => Stream.withSpan(s, "test"),
  zipLatest: (s) =>
    Stream.map(Stream.zipLatest(s, Stream.concat(Stream.fromEffect(Effect.sleep("3 seconds")), never)), ([one]) => one),
  zipWithIndex: (s) => Stream.zipWithIndex(s),
  zipWithPrevious: (s) => Stream.map(Stream.zipWithPrevious(s), ([, one]) => one),
  share: (s) => Stream.unwrap(Stream.share(s, { capacity: 16 })),
  broadcast: (s) => Stream.unwrap(Stream.broadcast(s, { capacity: 16 })),
  broadcastN: (s) =>
    Stream.unwrap(
      Effect.map(
        Stream.broadcastN(
          Stream.map(s, (one) => Delivery.split(one, 2)),
          { n: 2, capacity: 16 }
        ),
        ([left, right]) =>
          Stream.merge(
            Stream.map(left, ([part]) => part),
            Stream.map(right, ([, part]) => part)
          )
      )
    ),
  partition: (s) => Stream.unwrap(Effect.map(Stream.partition(s, not2), ([left, right]) => Stream.merge(left, right))),
  partitionEffect: (s) =>
    Stream.unwrap(
      Effect.map(
        Stream.partitionEffect(s, (one) => Effect.succeed(isNot2(one) ? Result.succeed(one) : Result.fail(one))),
        ([left, right]) => Stream.merge(left, right)
      )
    ),
  partitionQueue: (s) =>
    Stream.unwrap(
      Effect.map(Stream.partitionQueue(s, not2), ([left, right]) =>
        Stream.merge(Stream.fromQueue(left), Stream.fromQueue(right))
      )
    ),
  peel: (s) =>
    Stream.unwrap(
      Effect.map(Stream.peel(s, Sink.take<Delivery.Delivery>(2)), ([first, rest]) =>
        Stream.concat(Stream.make(first), rest)
      )
    ),
  toQueue: (s) => Stream.unwrap(Effect.map(Stream.toQueue(s, { capacity: 16 }), (queue) => Stream.fromQueue(queue))),
  toPubSub: (s) => Stream.unwrap(Effect.map(Stream.toPubSub(s, { capacity: 16, replay: 16 }), Stream.fromPubSub)),
  "Keyed.mapEffect": (s) => s.pipe(Keyed.mapEffect(succeed, { key: textOf, concurrency: 4 })),
  "Keyed.mapEffectBatch": (s) =>
    s.pipe(Keyed.mapEffectBatch(Effect.succeed, { key: textOf, concurrency: 4, quiet: "1 second" })),
  "Delivery.filter": (s) => s.pipe(Delivery.filter((message) => message.id.length > 0))
}

/** What has not come together waits for more, and is told of when there is none. */
const holds: Readonly<Record<string, Operator>> = {
  groupAdjacentBy: (s) => Stream.groupAdjacentBy(s, textOf),
  grouped: (s) => Stream.grouped(s, 3),
  rechunk: (s) => Stream.rechunk(s, 3),
  split: (s) => Stream.split(s, () => false)
}

/** Something goes in that does not come out, or comes out when it is too late. */
const loses: Readonly<Record<string, Operator>> = {
  "buffer that drops": (s) => Stream.buffer(s, { capacity: 2, strategy: "dropping" }),
  "buffer that slides": (s) => Stream.buffer(s, { capacity: 2, strategy: "sliding" }),
  changes: (s) => Stream.changesWith(s, (a, b) => textOf(a) === textOf(b)),
  changesWith: (s) => Stream.changesWith(s, (a, b) => textOf(a) === textOf(b)),
  changesWithEffect: (s) => Stream.changesWithEffect(s, (a, b) => Effect.succeed(textOf(a) === textOf(b))),
  debounce: (s) => Stream.debounce(s, "2 seconds"),
  drain: (s) => Stream.drain(s),
  drop: (s) => Stream.drop(s, 2),
  dropRight: (s) => Stream.dropRight(s, 2),
  dropUntil: (s) => Stream.dropUntil(s, (one) => textOf(one) === "3"),
  dropUntilEffect: (s) => Stream.dropUntilEffect(s, (one) => Effect.succeed(textOf(one) === "3")),
  dropWhile: (s) => Stream.dropWhile(s, (one) => textOf(one) !== "3"),
  dropWhileEffect: (s) => Stream.dropWhileEffect(s, (one) => Effect.succeed(textOf(one) !== "3")),
  dropWhileFilter: (s) => Stream.dropWhileFilter(s, not2),
  filter: (s) => Stream.filter(s, isNot2),
  filterEffect: (s) => Stream.filterEffect(s, (one) => Effect.succeed(isNot2(one))),
  filterMap: (s) => Stream.filterMap(s, not2),
  filterMapEffect: (s) =>
    Stream.filterMapEffect(s, (one) => Effect.succeed(isNot2(one) ? Result.succeed(one) : Result.fail(one))),
  ignore: (s) => Stream.ignore(Stream.drain(s)),
  ignoreCause: (s) => Stream.ignoreCause(Stream.drain(s)),
  "groupedWithin, of which the first is handled": (s) =>
    Stream.map(Stream.groupedWithin(s, 3, "1 second"), ([one]) => one),
  sliding: (s) => Stream.map(Stream.sliding(s, 2), (pair) => pair[1]),
  switchMap: (s) => Stream.switchMap(s, (one) => Stream.fromEffect(Effect.as(pause, one))),
  take: (s) =>
    Stream.take(
      Stream.tap(Stream.rechunk(s, 8), () => Effect.void),
      3
    ),
  takeRight: (s) => Stream.takeRight(s, 2),
  takeWhile: (s) => Stream.takeWhile(s, (one) => textOf(one) !== "4"),
  takeWhileEffect: (s) => Stream.takeWhileEffect(s, (one) => Effect.succeed(textOf(one) !== "4")),
  takeWhileFilter: (s) =>
    Stream.takeWhileFilter(
      s,
      Filter.fromPredicate((one: Delivery.Delivery) => textOf(one) !== "4")
    ),
  "throttle that enforces": (s) =>
    Stream.throttle(s, { cost: (all) => all.length, units: 1, duration: "1 hour", strategy: "enforce" }),
  zipWithNext: (s) => Stream.map(Stream.zipWithNext(s), ([, next]) => Option.getOrUndefined(next)),
  zipWithPreviousAndNext: (s) => Stream.map(Stream.zipWithPreviousAndNext(s), ([previous]) => previous),
  zip: (s) => Stream.map(Stream.zip(s, Stream.concat(Stream.make(1, 2), never)), ([one]) => one),
  combine: (s) =>
    Stream.combine(
      s,
      never,
      () => 0,
      (n, left) => Effect.flatMap(left, (all) => Effect.map(left, () => [all, n] as const))
    ),
  "partition of which one branch is read": (s) =>
    Stream.unwrap(Effect.map(Stream.partition(s, not2, { capacity: 16 }), ([left]) => left))
}

/** Those that do the same as another one to what goes through. */
const like: Readonly<Record<string, ReadonlyArray<string>>> = {
  catchTag: ["catchFilter", "catchReason", "catchReasons", "catchTags", "unwrapReason"],
  combine: ["combineArray"],
  concat: ["forever", "repeat"],
  map: ["provide", "provideContext", "provideService", "provideServiceEffect", "updateService", "withExecutionPlan"],
  rechunk: ["flattenTake"],
  toPubSub: ["toPubSubTake"],
  zip: ["cross", "crossWith", "zipFlatten", "zipLeft", "zipRight", "zipWith", "zipWithArray"],
  zipLatest: ["zipLatestAll", "zipLatestWith"]
}

/** What ends a stream, or leads out of it: whoever takes the elements there settles them. */
const ends =
  `run runCollect runCount runDrain runFold runFoldEffect runForEach runForEachArray runForEachWhile runHead runIntoPubSub
  runIntoQueue runLast runSum toAsyncIterable toAsyncIterableEffect toAsyncIterableWith toChannel toPull toReadableStream
  toReadableStreamEffect toReadableStreamWith repeatElements`.split(/\s+/)

/** Of texts, bytes and numbers, and what makes a stream of something else. */
const others =
  `callback decodeText die encodeText fail failCause failCauseSync failSync fromArray fromArrayEffect fromArrays fromAsyncIterable
  fromChannel fromEffect fromEffectDrain fromEffectRepeat fromEffectSchedule fromEventListener fromIterable fromIterableEffect
  fromIterableEffectRepeat fromIteratorSucceed fromPubSub fromPubSubTake fromPull fromQueue fromReadableStream fromSchedule
  fromSubscription intersperseAffixes isStream iterate limitBytes make mkArrayBuffer mkString mkUint8Array paginate range service
  serviceOption splitLines succeed suspend sync tick unfold`.split(/\s+/)

/** The deliveries in a value, at any depth. */
const deliveriesIn = (value: unknown): ReadonlyArray<Delivery.Delivery> => {
  if (value instanceof Handling.Delivery) return [value]
  if (Array.isArray(value)) return value.flatMap(deliveriesIn)
  return Predicate.isObject(value) ? Object.values(value).flatMap(deliveriesIn) : []
}

/** Sends eight messages through an operator: what is left on the server, and what the log tells of. */
const through = (operator: Operator) => {
  const log = lines()
  const handled: Array<string> = []
  return Effect.gen(function* () {
    const { deliveries, drain } = yield* Blaze.Blaze
    const account = yield* BlazeTest.Account
    const alice = yield* BlazeTest.user("alice")
    yield* operator(deliveries).pipe(
      Stream.runForEach((value) =>
        Effect.forEach(
          deliveriesIn(value),
          Delivery.handle((delivery) =>
            Effect.andThen(
              pause,
              Effect.sync(() => handled.push(textOf(delivery)))
            )
          ),
          { discard: true }
        )
      ),
      Effect.scoped,
      Effect.exit,
      Effect.forkChild
    )
    for (const text of ["1", "2", "3", "4"]) yield* alice.say(text)
    yield* pass(1)
    for (const text of ["5", "5", "6", "7"]) {
      yield* alice.say(text)
      yield* pass(1)
    }
    yield* pass(60)
    const told = log.all.filter((line) => line.includes("neither acknowledged nor deferred")).length
    // What is handled again has its place from the first time.
    const isInOrder = handled.every((text, n) => handled.indexOf(text) < n || text >= (handled[n - 1] ?? ""))
    const left = (yield* account.pending).length
    yield* Effect.forkChild(drain)
    yield* pass(31)
    return { left, told, isInOrder, undrained: (yield* account.pending).length }
  }).pipe(
    Effect.provide(client),
    Effect.provide(BlazeTest.layerServer),
    Effect.provide(log.layer),
    Effect.provideService(Keyed.Grace, 0)
  )
}

/** These keep the order within a branch. */
const branching = new Set(["partition", "partitionEffect", "partitionQueue"])

const tested = [keeps, holds, loses].flatMap((list) => Object.keys(list))

describe("the operators of Stream, with deliveries", () => {
  for (const [name, operator] of Object.entries(keeps)) {
    it.effect(`${name} keeps every acknowledgement, and the order where there is one`, () =>
      Effect.map(through(operator), (outcome) =>
        assert.deepStrictEqual(outcome, { left: 0, told: 0, isInOrder: !branching.has(name), undrained: 0 })
      )
    )
  }

  for (const [name, operator] of Object.entries(loses)) {
    it.effect(`${name} loses some, and is told of`, () =>
      Effect.map(through(operator), ({ left, told, undrained }) => {
        assert.isAbove(left, 0)
        assert.isAbove(told, 0)
        assert.isAbove(undrained, 0)
      })
    )
  }

  for (const [name, operator] of Object.entries(holds)) {
    it.effect(`${name} holds some back until more come or the bot is drained, and is told of`, () =>
      Effect.map(through(operator), ({ left, told, undrained }) => {
        assert.isAbove(left, 0)
        assert.isAbove(told, 0)
        assert.strictEqual(undrained, 0)
      })
    )
  }

  it("all of them are listed, here and in the docs", () => {
    const known = new Set([...tested, ...Object.values(like).flat(), ...ends, ...others, "context", "provideLayer"])
    const installed = Object.entries(Stream).flatMap(([name, value]) => (typeof value === "function" ? [name] : []))
    assert.deepStrictEqual(
      installed.filter((name) => !known.has(name)),
      []
    )
    const page = readFileSync(new URL("../docs/pipelines.md", import.meta.url), "utf8")
    const names = [...tested, ...Object.values(like).flat()].filter((name) => /^\w+$/.test(name))
    assert.deepStrictEqual(
      names.filter((name) => !page.includes(`\`${name}\``)),
      []
    )
  })
})
