/**
 * Bytes to envelope and back: one binary WebSocket message is one gzip stream holding one UTF-8 JSON object.
 *
 * Guarantee: a frame either gives a checked envelope or a `BadInput`, never an exception; the size limit lives here.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as BlazeError from "../BlazeError.ts"
import * as Envelope from "../Envelope.ts"
import * as Decoding from "./Decoding.ts"
import * as Gzip from "../Gzip.ts"
import * as Settings from "../Settings.ts"
import * as Utf8 from "./Utf8.ts"

/**
 * Reads and writes frames.
 *
 * @category services
 * @since 0.1.0
 */
export class Frame extends Context.Service<
  Frame,
  {
    /** Reads one frame; a text frame comes as a string and is never legal. Fails with `BadInput`. */
    readonly decode: (frame: Uint8Array | string) => Result.Result<Envelope.Incoming, BlazeError.BlazeError>
    readonly encode: (envelope: Envelope.Request) => Uint8Array
  }
>()("effect-blaze/Frame") {}

const bad = (problem: string) => Result.fail(BlazeError.make(new BlazeError.BadInput({ problem })))
const notBinary = bad("a text frame")
const notUtf8 = bad("a frame that is not UTF-8")
const notJson = bad("a frame that is not JSON")
const notEnvelope = BlazeError.make(
  new BlazeError.BadInput({ problem: "a frame that is not an envelope with an action" })
)

/**
 * @category constructors
 * @since 0.1.0
 */
export const make: Effect.Effect<Frame["Service"], BlazeError.BlazeError, Gzip.Gzip> = Effect.gen(function* () {
  const { gunzip, gzip } = yield* Gzip.Gzip
  const { maximumFrameSize: maximumSize } = yield* Settings.checked
  const decoder = new TextDecoder("utf-8", { fatal: true })
  const encode = Utf8.makeEncoder()
  return Frame.of({
    decode: (frame) => {
      if (typeof frame === "string") return notBinary
      const bytes = gunzip(frame, maximumSize)
      if (Result.isFailure(bytes)) return Result.fail(bytes.failure)
      let text: string
      try {
        text = decoder.decode(bytes.success)
      } catch {
        return notUtf8
      }
      let json: unknown
      try {
        json = JSON.parse(text)
      } catch {
        return notJson
      }
      return Result.mapError(Decoding.incoming(json), () => notEnvelope)
    },
    encode: (envelope) => gzip(encode(JSON.stringify(envelope)))
  })
})

/**
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<Frame, BlazeError.BlazeError, Gzip.Gzip> = Layer.effect(Frame, make)
