/**
 * The endpoints of the REST API as values: method, path and schemas, defined once for the client and the built-in server.
 *
 * Guarantee: what is sent has the form that its endpoint names, and of what comes back only what has it is passed on; fields that
 * Mixin adds or leaves out take nothing from the rest.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as BlazeError from "./BlazeError.ts"
import * as Envelope from "./Envelope.ts"
import * as Ids from "./Ids.ts"

/** The names in a path: `"id"` for `"/users/:id"`. */
type Parameter<Path extends string> = Path extends `${string}:${infer Name}/${infer Rest}`
  ? Name | Parameter<`/${Rest}`>
  : Path extends `${string}:${infer Name}`
    ? Name
    : never

/**
 * What a request needs: the parameters of its path, and what it carries.
 *
 * @category models
 * @since 0.1.0
 */
export type Input<Path extends string, Payload> = ([Parameter<Path>] extends [never]
  ? { readonly path?: undefined }
  : { readonly path: { readonly [Name in Parameter<Path>]: string } }) &
  ([Payload] extends [never] ? { readonly payload?: undefined } : { readonly payload: Payload })

/**
 * One endpoint. Of an answer without `data` nothing is read.
 *
 * @category models
 * @since 0.1.0
 */
export interface Endpoint<Path extends string = string, Payload = unknown, Data = unknown> {
  readonly method: "GET" | "POST"
  /** The path, where `:name` stands for a parameter. */
  readonly path: Path
  readonly payload: Schema.Codec<Payload, unknown> | undefined
  readonly data: Schema.Codec<Data, unknown> | undefined
}

const get = <Path extends string, Data>(
  path: Path,
  data: Schema.Codec<Data, unknown>
): Endpoint<Path, never, Data> => ({
  method: "GET",
  path,
  payload: undefined,
  data
})

const post = <Path extends string, Payload, Data = void>(
  path: Path,
  payload: Schema.Codec<Payload, unknown>,
  data?: Schema.Codec<Data, unknown>
): Endpoint<Path, Payload, Data> => ({ method: "POST", path, payload, data })

/**
 * Path and parameters as they are sent.
 *
 * @since 0.1.0
 */
export const uri = (endpoint: { readonly path: string }, path: Readonly<Record<string, string>> | undefined): string =>
  path === undefined
    ? endpoint.path
    : endpoint.path.replace(/:([A-Za-z]+)/g, (_, name: string) => encodeURIComponent(path[name] ?? ""))

const unexpected = (problem: string) => () => BlazeError.make(new BlazeError.BadInput({ problem }))

/**
 * What a request carries, in the form that is sent; fails with `BadInput`.
 *
 * @since 0.1.0
 */
export const encode = (endpoint: Endpoint, payload: unknown): Effect.Effect<unknown, BlazeError.BlazeError> =>
  endpoint.payload === undefined
    ? Effect.succeed(undefined)
    : Effect.mapError(Schema.encodeUnknownEffect(endpoint.payload)(payload), unexpected("a request that is no such"))

/**
 * The data of an answer; fails with `BadInput`.
 *
 * @since 0.1.0
 */
export const decode = <Data>(
  endpoint: Endpoint<string, unknown, Data>,
  data: unknown
): Effect.Effect<Data, BlazeError.BlazeError> =>
  endpoint.data === undefined
    ? Effect.succeed(undefined as Data)
    : Effect.mapError(Schema.decodeUnknownEffect(endpoint.data)(data), unexpected("an answer of an unexpected form"))

/**
 * A user as the API shows it, as far as this library reads it.
 *
 * @category models
 * @since 0.1.0
 */
export const User = Schema.Struct({
  user_id: Ids.UserId,
  full_name: Schema.optional(Schema.NullOr(Schema.String)),
  identity_number: Schema.optional(Schema.NullOr(Schema.String))
})
/** @since 0.1.0 */
export type User = typeof User.Type

/** How many messages one request may acknowledge. Source: the official documentation. */
export const maximumAcknowledgements = 100

/**
 * `POST /acknowledgements`: marks up to 100 messages as read.
 *
 * @category endpoints
 * @since 0.1.0
 */
export const acknowledge = post("/acknowledgements", Schema.Array(Envelope.Acknowledgement))

/**
 * `GET /me`: the bot itself.
 *
 * @category endpoints
 * @since 0.1.0
 */
export const me = get("/me", User)
