/**
 * What the commands have in common: which bot they are for, and how they speak.
 *
 * Guarantee: a keystore is read as `NodeBlaze.layerConfig` reads it, whether a flag names it or the environment; what fails is told in a
 * sentence; nothing that somebody else has written tells the terminal what to do.
 *
 * @since 0.1.0
 */
import * as Arr from "effect/Array"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as PlatformError from "effect/PlatformError"
import * as Predicate from "effect/Predicate"
import * as CliError from "effect/cli/CliError"
import * as Flag from "effect/cli/Flag"
import * as BlazeError from "../BlazeError.ts"

/**
 * @category flags
 * @since 0.1.0
 */
export const keystore: Flag.Flag<Option.Option<string>> = Flag.String("keystore").pipe(
  Flag.withAlias("k"),
  Flag.withMetavar("FILE"),
  Flag.withDescription("The bot's keystore; without it BLAZE_KEYSTORE says which"),
  Flag.optional
)

/**
 * @category flags
 * @since 0.1.0
 */
export const json = (description: string): Flag.Flag<boolean> =>
  Flag.Boolean("json").pipe(Flag.withDescription(description), Flag.withDefault(false))

/**
 * @category flags
 * @since 0.1.0
 */
export const port = (description: string): Flag.Flag<number> =>
  Flag.Int("port").pipe(
    Flag.withAlias("p"),
    Flag.withDescription(description),
    Flag.filter(
      (port) => port >= 0 && port < 65_536,
      (port) => `${port} is no port`
    ),
    Flag.withDefault(0)
  )

/**
 * @category flags
 * @since 0.1.0
 */
export const people: Flag.Flag<string> = Flag.String("people").pipe(
  Flag.withMetavar("NAMES"),
  Flag.withDescription("Who can talk to the bot, with commas between them"),
  Flag.withDefault("alice,bob")
)

/**
 * Text without what moves the cursor, ends a line, or turns the direction of writing round.
 *
 * @category conversions
 * @since 0.1.0
 */
export const visible = (text: string): string =>
  text.replace(/[\p{Cc}\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu, " ")

/**
 * Fails a command with a sentence.
 *
 * @category errors
 * @since 0.1.0
 */
export const wrong = (sentence: string): Effect.Effect<never, CliError.UserError> =>
  Effect.fail(new CliError.UserError({ cause: visible(sentence) }))

/**
 * The names of `people`.
 *
 * @category conversions
 * @since 0.1.0
 */
export const namesIn = Effect.fnUntraced(function* (text: string) {
  const names = Arr.dedupe(text.split(",").flatMap((name) => (name.trim() === "" ? [] : [name.trim()])))
  const bad = names.find((name) => name.includes(":") || visible(name) !== name)
  return bad === undefined ? names : yield* wrong(`${JSON.stringify(bad)} is no name that can be typed before a colon.`)
})

type Told = BlazeError.BlazeError | PlatformError.PlatformError

/**
 * Makes errors of the library and of the file system what the user is told.
 *
 * @category errors
 * @since 0.1.0
 */
export const telling = <A, E, R>(
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, Exclude<E, Told> | CliError.UserError, R> =>
  Effect.catch(effect, (error): Effect.Effect<never, Exclude<E, Told> | CliError.UserError> =>
    BlazeError.isBlazeError(error) || Predicate.isTagged(error, "PlatformError")
      ? wrong(String((error as Told).message))
      : Effect.fail(error as Exclude<E, Told>)
  )

/**
 * Has the environment name the keystore of the flag.
 *
 * @category combinators
 * @since 0.1.0
 */
export const withKeystore =
  (keystore: Option.Option<string>) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, Exclude<E, Told> | CliError.UserError, R> =>
    Option.match(keystore, {
      onNone: () => telling(effect),
      onSome: (file) =>
        Effect.flatMap(ConfigProvider.ConfigProvider, (environment) =>
          Effect.provideService(
            telling(effect),
            ConfigProvider.ConfigProvider,
            ConfigProvider.orElse(ConfigProvider.fromUnknown({ BLAZE_KEYSTORE: file }), environment)
          )
        )
    })
