/**
 * Which endpoint a request of the REST API is for, and what it is answered.
 *
 * Guarantee: what reaches the rule of an endpoint has the form that the endpoint names, and so has what leaves it; everything else is
 * refused in the server's words.
 *
 * @since 0.1.0
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Endpoint from "../../Endpoint.ts"
import type * as Envelope from "../../Envelope.ts"
import * as PathTemplate from "../../internal/PathTemplate.ts"

/**
 * A request: the path with what follows it, and its JSON.
 *
 * @category models
 * @since 0.1.0
 */
export interface Request {
  readonly method: string
  readonly uri: string
  readonly payload: unknown
}

/**
 * An answer over HTTP.
 *
 * @category models
 * @since 0.1.0
 */
export interface Answer {
  readonly status: number
  readonly body: string
}

/**
 * The rule of one endpoint; `undefined` for a request that is for another.
 *
 * @category models
 * @since 0.1.0
 */
export type Rule<Bot> = (bot: Bot, request: Request) => Result.Result<unknown, Envelope.ErrorBody> | undefined

/** The field that a schema's complaint is about. */
export const fieldOf = (message: string) => /\["([a-z_]+)"\]/.exec(message)?.[1] ?? "params"

const isEncoded = (value: string) => {
  try {
    return decodeURIComponent(value) !== ""
  } catch {
    return false
  }
}

/**
 * A rule. `refuse` makes the error of a payload that has not the form of the endpoint's, given the field that has not. What a request asks for
 * in its query may be more, or less, than what the endpoint names.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <Bot, Path extends string, Payload, Data>(
  endpoint: Endpoint.Endpoint<Path, Payload, Data>,
  refuse: (field: string) => Envelope.ErrorBody,
  serve: (
    bot: Bot,
    input: Endpoint.Input<Path, Payload>,
    query: URLSearchParams
  ) => Result.Result<Data, Envelope.ErrorBody>
): Rule<Bot> => {
  const { data, method, payload } = endpoint
  const [path = ""] = endpoint.path.split("?")
  const names = PathTemplate.names(path)
  const pattern = new RegExp(`^${PathTemplate.fill(path, () => "([^/]+)")}$`)
  const decode = payload === undefined ? undefined : Schema.decodeUnknownResult(payload)
  const encode = data === undefined ? undefined : Schema.encodeSync(data)
  return (bot, request) => {
    if (request.method !== method) return undefined
    const [place = "", query] = request.uri.split("?")
    const values = pattern.exec(place)
    if (values === null || !values.slice(1).every(isEncoded)) return undefined
    const decoded = decode?.(request.payload)
    if (decoded !== undefined && Result.isFailure(decoded)) {
      return Result.fail(refuse(fieldOf(decoded.failure.message)))
    }
    const input: unknown = {
      path: Object.fromEntries(names.map((name, index) => [name, decodeURIComponent(values[index + 1]!)])),
      payload: decoded?.success
    }
    const served = serve(bot, input as Endpoint.Input<Path, Payload>, new URLSearchParams(query))
    return encode === undefined ? served : Result.map(served, (data) => encode(data))
  }
}

/**
 * The answer of the first rule that a request is for.
 *
 * @since 0.1.0
 */
export const answer = <Bot>(
  rules: ReadonlyArray<Rule<Bot>>,
  bot: Bot,
  request: Request,
  unknown: Envelope.ErrorBody
): Answer => {
  for (const rule of rules) {
    const served = rule(bot, request)
    if (served !== undefined) return Result.isFailure(served) ? failed(served.failure) : succeeded(served.success)
  }
  return failed(unknown)
}

// Where there is nothing to tell, `data` is not there.
const succeeded = (data: unknown): Answer => ({ status: 200, body: JSON.stringify({ data }) })

/**
 * The answer that a request failed.
 *
 * @since 0.1.0
 */
export const failed = (error: Envelope.ErrorBody): Answer => ({ status: 202, body: JSON.stringify({ error }) })
