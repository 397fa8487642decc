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
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import { lookup } from "node:dns/promises"
import { connect, isIP } from "node:net"
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
import * as Common from "./Common.ts"
import * as WhySilent from "./WhySilent.ts"
import * as Words from "./Words.ts"

/** How long each step may take. */
const patience = "15 seconds"

/** By how much a clock may be off: Mixin takes five minutes, and a bot that is off by one is soon off by five. */
const tolerated = Duration.minutes(1)

const sentence = (error: unknown) =>
  BlazeError.isBlazeError(error) ? error.message : BlazeError.problemOf(error, "no reason given")

const step = <A, E, R>(words: Words.Words, name: string, effect: Effect.Effect<A, E, R>, tell: (value: A) => string) =>
  effect.pipe(
    Effect.timeoutOrElse({
      duration: patience,
      orElse: () => Effect.fail(new Error(words.noAnswer))
    }),
    Effect.result,
    Effect.map((result): { readonly finding: WhySilent.Finding; readonly value: Option.Option<A> } =>
      Result.isSuccess(result)
        ? { finding: { step: name, isWell: true, text: tell(result.success) }, value: Option.some(result.success) }
        : {
            finding: { step: name, isWell: false, text: words.failed(name, sentence(result.failure)) },
            value: Option.none()
          }
    )
  )

const all = (addresses: string | ReadonlyArray<string>): ReadonlyArray<URL> =>
  (typeof addresses === "string" ? [addresses] : addresses).map((address) => new URL(address))

const hostIn = (url: URL) => url.hostname.replace(/^\[|\]$/g, "")

const portOf = (url: URL) =>
  Number(url.port) || (url.protocol.startsWith("socks") ? 1080 : /^(wss|https):$/.test(url.protocol) ? 443 : 80)

const ofCertificate = /CERT|SELF_SIGNED|UNABLE_TO|ALTNAME|ERR_TLS/

const unreachable = (words: Words.Words, url: URL, error: unknown): Error => {
  const problem = BlazeError.problemOf(error, "no reason given")
  return ofCertificate.test(problem)
    ? new Error(words.untrusted(url.host, problem))
    : BlazeError.make(new BlazeError.Unreachable({ host: url.host, problem }))
}

const resolve = (words: Words.Words, url: URL) =>
  Effect.mapError(
    Effect.tryPromise(() => lookup(hostIn(url))),
    ({ cause }) => unreachable(words, url, cause)
  )

const open = (words: Words.Words, url: URL, isSecure: boolean) =>
  Effect.callback<string, Error>((resume) => {
    const host = hostIn(url)
    const socket = isSecure
      ? connectSecurely({ host, port: portOf(url), ...(isIP(host) === 0 ? { servername: host } : {}) })
      : connect({ host, port: portOf(url) })
    socket.once("error", (error) => resume(Effect.fail(unreachable(words, url, error))))
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

/** Of a server that says no time nothing is known; what is wrong with it, the next step says. */
const clockOf = (words: Words.Words, server: number) =>
  Effect.flatMap(Clock.currentTimeMillis, (now) => {
    const difference = Duration.millis(Math.abs(now - server))
    const spelled = Duration.format(Duration.seconds(Math.round(Duration.toSeconds(difference))))
    return Duration.isGreaterThan(difference, tolerated)
      ? Effect.fail(new Error(words.clockOff(spelled)))
      : Effect.succeed(Duration.toSeconds(difference) < 1 ? words.clockSame : words.clockNear(spelled))
  })

const me = Effect.gen(function* () {
  const { request } = yield* MixinApi.MixinApi
  return yield* request(Endpoint.me, {})
})

const listing = Effect.fnUntraced(function* (words: Words.Words) {
  const socket = yield* BlazeSocket.BlazeSocket
  const wire = yield* socket.open
  const id = crypto.randomUUID()
  yield* wire.send({ id, action: Envelope.Action.listPendingMessages })
  const answer = yield* wire.envelopes.pipe(
    // An error may come in place of an answer, and of any other thing.
    Stream.filter((envelope) => envelope.id === id || Predicate.isNotNullish(envelope.error)),
    Stream.runHead
  )
  if (Option.isNone(answer)) return yield* Effect.fail(new Error(words.noWord))
  const { error } = answer.value
  if (Predicate.isNotNullish(error)) return yield* BlazeError.fromApi(error)
}, Effect.scoped)

interface Telling {
  readonly words: Words.Words
  readonly tell: (finding: WhySilent.Finding) => Effect.Effect<void>
}

/** Tells of a step; nothing comes of one that is not well. */
const passed = <A, E, R>(
  { tell, words }: Telling,
  name: string,
  effect: Effect.Effect<A, E, R>,
  text: (value: A) => string
) =>
  Effect.flatMap(step(words, name, effect, text), ({ finding, value }) =>
    Effect.andThen(tell(finding), Effect.fromOption(value))
  )

/** The way to one address. */
const lookAt = Effect.fnUntraced(function* (telling: Telling, name: string, address: URL) {
  const { words } = telling
  const { isProxy, through } = wayTo(address)
  const via = isProxy ? words.via(address.host, through.host) : address.host
  yield* passed(telling, `${name}: name`, resolve(words, through), ({ address }) => words.name(via, address))
  yield* passed(telling, `${name}: connection`, open(words, through, false), () => words.connection(through.host))
  if (!isProxy && /^(wss|https):$/.test(address.protocol)) {
    yield* passed(telling, `${name}: TLS`, open(words, address, true), () => words.tls)
  }
})

/** Of several addresses one is enough: a bot goes on to the next. */
const lookAtAny = Effect.fnUntraced(function* (telling: Telling, name: string, addresses: ReadonlyArray<URL>) {
  let isWell = false
  for (const address of addresses)
    isWell = Option.isSome(yield* Effect.option(lookAt(telling, name, address))) || isWell
  if (!isWell) return yield* notWell
})

const notWell = Effect.fromOption(Option.none<never>())

/** Looks at one thing after the other, and tells of each, until one is not well. */
const examine = Effect.fnUntraced(function* (telling: Telling, whySilent: boolean) {
  const { words } = telling
  const keystore = yield* passed(telling, "keystore", Keystore.fromConfig, ({ key }) =>
    words.keystore(key._tag === "Ed25519" ? "Ed25519" : "RSA")
  )
  const context = yield* passed(telling, "settings", Layer.build(NodeBlaze.layerSocketConfig), () => words.settings)
  const { apiUrl, url } = yield* Settings.current
  yield* lookAtAny(telling, "API", all(apiUrl))
  yield* lookAtAny(telling, "Blaze", all(url))
  yield* Effect.gen(function* () {
    const time = yield* Effect.flatMap(MixinApi.MixinApi, ({ serverTime }) =>
      Effect.timeoutOption(serverTime, patience)
    )
    const server = Option.flatten(time)
    if (Option.isSome(server)) yield* passed(telling, "clock", clockOf(words, server.value), (text) => text)
    const itself = yield* passed(telling, "token", me, () => words.token)
    // Each try is at the next of the addresses.
    const listed = Effect.retry(listing(words), { times: all(url).length - 1 })
    yield* passed(telling, "messages", listed, () => words.messages)
    if (whySilent && !(yield* WhySilent.examine(telling.tell, words, keystore, itself))) return yield* notWell
  }).pipe(Effect.provide(context))
})

const tellAsJson = (finding: WhySilent.Finding) => Console.log(JSON.stringify(finding))

const tellAsText = ({ isWell, step, text }: WhySilent.Finding) =>
  Console.log(Common.visible(`${isWell ? "ok  " : "NO  "}${step}: ${text}`))

/**
 * @category commands
 * @since 0.1.0
 */
export const command = Command.make(
  "doctor",
  {
    keystore: Common.keystore,
    whySilent: Flag.Boolean("why-silent").pipe(
      Flag.withDescription("Looks besides at what may keep a bot silent that is connected: ten seconds more"),
      Flag.withDefault(false)
    ),
    json: Common.json("A line of JSON for each step")
  },
  ({ json, keystore, whySilent }) =>
    Effect.gen(function* () {
      const words = yield* Words.current
      return yield* examine({ tell: json ? tellAsJson : tellAsText, words }, whySilent).pipe(
        Effect.scoped,
        Effect.provide(Layer.merge(NodeBlaze.layerPlatform, Settings.layerConfig)),
        Effect.catchTag("NoSuchElementError", () => Common.wrong(words.notWell))
      )
    }).pipe(Common.withKeystore(keystore))
).pipe(
  Command.withDescription("Says what stands between a bot and Mixin, and what to do about it"),
  Command.withExamples([
    { command: "effect-blaze doctor --keystore keystore.json", description: "One step after the other" },
    { command: "effect-blaze doctor --why-silent", description: "And why a connected bot says nothing" }
  ])
)
