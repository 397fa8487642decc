/**
 * `effect-blaze doctor`: what stands between a bot and Mixin, one step after the other.
 *
 * Guarantee: it stops at the first step that fails, and says in a sentence what to do; no value of a keystore is shown, and nothing is taken
 * from the bot.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Console from "effect/Console"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import * as CliError from "effect/cli/CliError"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import { lookup } from "node:dns/promises"
import { connect } from "node:net"
import { connect as connectSecurely } from "node:tls"
import { getProxyForUrl } from "proxy-from-env"
import * as BlazeError from "../BlazeError.ts"
import * as BlazeSocket from "../BlazeSocket.ts"
import * as Endpoint from "../Endpoint.ts"
import * as Envelope from "../Envelope.ts"
import * as Keystore from "../Keystore.ts"
import * as MixinApi from "../MixinApi.ts"
import * as NodeBlaze from "../node/NodeBlaze.ts"
import * as Settings from "../Settings.ts"
import * as Keystores from "./Keystores.ts"

/**
 * One thing that was looked at.
 *
 * @category models
 * @since 0.1.0
 */
export interface Finding {
  readonly step: string
  readonly isWell: boolean
  readonly text: string
}

/** How long each step may take. */
const patience = "15 seconds"

/** By how much a clock may be off: Mixin takes five minutes, and a bot that is off by one is soon off by five. */
const tolerated = Duration.minutes(1)

const sentence = (error: unknown) =>
  BlazeError.isBlazeError(error) ? error.message : BlazeError.problemOf(error, "no reason given")

const step = <A, E, R>(name: string, effect: Effect.Effect<A, E, R>, tell: (value: A) => string) =>
  effect.pipe(
    Effect.timeoutOrElse({
      duration: patience,
      orElse: () => Effect.fail(new Error("There was no answer within 15 seconds."))
    }),
    Effect.result,
    Effect.map((result): { readonly finding: Finding; readonly value: Option.Option<A> } =>
      Result.isSuccess(result)
        ? { finding: { step: name, isWell: true, text: tell(result.success) }, value: Option.some(result.success) }
        : { finding: { step: name, isWell: false, text: sentence(result.failure) }, value: Option.none() }
    )
  )

const keyKind = ({ key }: Keystore.Keystore) =>
  "algorithm" in key && key.algorithm === "RS512" ? "an RSA key" : "an Ed25519 key"

const first = (addresses: string | ReadonlyArray<string>): URL =>
  new URL(typeof addresses === "string" ? addresses : addresses[0]!)

const portOf = (url: URL) => Number(url.port) || (/^(wss|https):$/.test(url.protocol) ? 443 : 80)

const unreachable = (url: URL, error: unknown) =>
  BlazeError.make(
    new BlazeError.Unreachable({ host: url.host, problem: BlazeError.problemOf(error, "no reason given") })
  )

const resolve = (url: URL) =>
  Effect.mapError(
    Effect.tryPromise(() => lookup(url.hostname.replace(/^\[|\]$/g, ""))),
    ({ cause }) => unreachable(url, cause)
  )

const open = (url: URL, isSecure: boolean) =>
  Effect.callback<string, BlazeError.BlazeError>((resume) => {
    const host = url.hostname.replace(/^\[|\]$/g, "")
    const socket = isSecure
      ? connectSecurely({ host, port: portOf(url), servername: host })
      : connect({ host, port: portOf(url) })
    socket.once("error", (error) => resume(Effect.fail(unreachable(url, error))))
    socket.once(isSecure ? "secureConnect" : "connect", () => {
      resume(Effect.succeed(`${socket.remoteAddress}`))
      socket.destroy()
    })
    return Effect.sync(() => socket.destroy())
  })

/** What stands in the way there: the proxy, where there is one, else the host itself. */
const wayTo = (url: URL) => {
  const proxy = getProxyForUrl(url.href.replace(/^ws/, "http"))
  return URL.canParse(proxy) ? { through: new URL(proxy), isProxy: true } : { through: url, isProxy: false }
}

const clock = Effect.gen(function* () {
  const api = yield* MixinApi.MixinApi
  const server = yield* api.serverTime
  if (Option.isNone(server)) return "the server's time is not known"
  const difference = Duration.millis(Math.abs((yield* Clock.currentTimeMillis) - server.value))
  const spelled = Duration.format(Duration.seconds(Math.round(Duration.toSeconds(difference))))
  if (Duration.isGreaterThan(difference, tolerated)) {
    return yield* Effect.fail(
      new Error(
        `This machine's clock and the server's are ${spelled} apart, and Mixin tolerates 5 minutes: set the clock.`
      )
    )
  }
  return Duration.toSeconds(difference) < 1 ? "as the server's" : `${spelled} from the server's`
})

const me = Effect.gen(function* () {
  const { request } = yield* MixinApi.MixinApi
  return yield* request(Endpoint.me, {})
})

const listing = Effect.gen(function* () {
  const socket = yield* BlazeSocket.BlazeSocket
  const wire = yield* socket.open
  const id = crypto.randomUUID()
  yield* wire.send({ id, action: Envelope.Action.listPendingMessages })
  const answer = yield* wire.envelopes.pipe(
    // An error may come in place of an answer, and of any other thing.
    Stream.filter((envelope) => envelope.id === id || Predicate.isNotNullish(envelope.error)),
    Stream.runHead
  )
  if (Option.isNone(answer)) return yield* Effect.fail(new Error("The server closed the connection without a word."))
  const { error } = answer.value
  if (Predicate.isNotNullish(error)) return yield* BlazeError.fromApi(error)
}).pipe(Effect.scoped)

/** Looks at one thing after the other, and tells of each, until one is not well. */
const examine = Effect.fnUntraced(function* (tell: (finding: Finding) => Effect.Effect<void>) {
  const look = <A, E, R>(name: string, effect: Effect.Effect<A, E, R>, text: (value: A) => string) =>
    Effect.flatMap(step(name, effect, text), ({ finding, value }) =>
      Effect.andThen(tell(finding), Effect.fromOption(value))
    )
  const { apiUrl, url } = yield* Settings.current

  yield* look("keystore", Keystore.fromConfig, (keystore) => `one bot, one session, ${keyKind(keystore)}`)
  for (const [name, address] of [
    ["API", first(apiUrl)],
    ["Blaze", first(url)]
  ] as const) {
    const { isProxy, through } = wayTo(address)
    const via = isProxy ? `${address.host}, by the proxy ${through.host}` : address.host
    yield* look(`${name}: name`, resolve(through), ({ address }) => `${via} is ${address}`)
    yield* look(`${name}: connection`, open(through, false), () => `${through.host} answers`)
    if (!isProxy && /^(wss|https):$/.test(address.protocol)) {
      yield* look(`${name}: TLS`, open(address, true), () => "its certificate is good")
    }
  }
  // Only now, since nothing of this can be made of a keystore that cannot be read.
  yield* Effect.gen(function* () {
    yield* look("clock", clock, (text) => text)
    yield* look("token", me, () => "Mixin knows the bot")
    yield* look("messages", listing, () => "the bot is connected, and what waits for it was listed")
  }).pipe(Effect.provide(NodeBlaze.layerSocketConfig))
})

/**
 * @category commands
 * @since 0.1.0
 */
export const command = Command.make(
  "doctor",
  {
    keystore: Keystores.flag,
    json: Flag.Boolean("json").pipe(Flag.withDescription("A line of JSON for each step"), Flag.withDefault(false))
  },
  ({ json, keystore }) =>
    examine((finding) =>
      Console.log(
        json ? JSON.stringify(finding) : `${finding.isWell ? "ok  " : "NO  "}${finding.step}: ${finding.text}`
      )
    ).pipe(
      Effect.provide(Layer.merge(NodeBlaze.layerPlatform, Settings.layerConfig)),
      Effect.catchTag("NoSuchElementError", () =>
        Effect.fail(new CliError.UserError({ cause: "The bot cannot work as it is: see the last line." }))
      ),
      Keystores.provide(keystore)
    )
).pipe(
  Command.withDescription("Says what stands between a bot and Mixin, and what to do about it"),
  Command.withExamples([
    { command: "effect-blaze doctor --keystore keystore.json", description: "One step after the other" }
  ])
)
