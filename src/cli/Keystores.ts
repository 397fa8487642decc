/**
 * Which bot a command is for.
 *
 * Guarantee: a keystore is read as `NodeBlaze.layerConfig` reads it, whether a flag names it or the environment; what fails is told in the
 * sentence of its error.
 *
 * @since 0.1.0
 */
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as CliError from "effect/cli/CliError"
import * as Flag from "effect/cli/Flag"
import * as BlazeError from "../BlazeError.ts"

/**
 * @category flags
 * @since 0.1.0
 */
export const flag: Flag.Flag<Option.Option<string>> = Flag.String("keystore").pipe(
  Flag.withAlias("k"),
  Flag.withMetavar("FILE"),
  Flag.withDescription("The bot's keystore; without it BLAZE_KEYSTORE says which"),
  Flag.optional
)

const toUser = <E>(error: E) =>
  BlazeError.isBlazeError(error)
    ? new CliError.UserError({ cause: error.message })
    : (error as Exclude<E, BlazeError.BlazeError>)

/**
 * Has the environment name the keystore of the flag.
 *
 * @category combinators
 * @since 0.1.0
 */
export const provide =
  (keystore: Option.Option<string>) =>
  <A, E, R>(
    effect: Effect.Effect<A, E, R>
  ): Effect.Effect<A, Exclude<E, BlazeError.BlazeError> | CliError.UserError, R> =>
    Option.match(keystore, {
      onNone: () => Effect.mapError(effect, toUser),
      onSome: (file) =>
        Effect.flatMap(ConfigProvider.ConfigProvider, (environment) =>
          Effect.provideService(
            Effect.mapError(effect, toUser),
            ConfigProvider.ConfigProvider,
            ConfigProvider.orElse(ConfigProvider.fromUnknown({ BLAZE_KEYSTORE: file }), environment)
          )
        )
    })
