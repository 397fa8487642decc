/**
 * The compression of frames, as a service with two implementations: `PortableGzip`, which runs anywhere, and zlib in
 * `effect-blaze/node`.
 *
 * Guarantee: a frame is one or more whole gzip members with matching checksums and lengths and nothing after them; anything
 * else is refused, and no frame inflates beyond the limit, whatever it claims.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Result from "effect/Result"
import * as BlazeError from "./BlazeError.ts"

/**
 * Compresses and inflates whole frames, synchronously: an asynchronous call costs ten times the work itself at these sizes.
 *
 * @category services
 * @since 0.1.0
 */
export class Gzip extends Context.Service<
  Gzip,
  {
    readonly gzip: (bytes: Uint8Array) => Uint8Array
    /** Fails with `BadInput`. `maximumSize` is in bytes and counts what comes out, which is good until the next call. */
    readonly gunzip: (frame: Uint8Array, maximumSize: number) => Result.Result<Uint8Array, BlazeError.BlazeError>
  }
>()("effect-blaze/Gzip") {}

/** @since 0.1.0 */
export const damaged: Result.Result<never, BlazeError.BlazeError> = Result.fail(
  BlazeError.make(new BlazeError.BadInput({ problem: "a frame that is not intact gzip" }))
)

/** @since 0.1.0 */
export const tooLarge = (maximumSize: number): Result.Result<never, BlazeError.BlazeError> =>
  Result.fail(
    BlazeError.make(new BlazeError.BadInput({ problem: `a frame that inflates to more than ${maximumSize} bytes` }))
  )

/** The smallest gzip member there is: header, an empty block, trailer. RFC 1952. */
export const minimumFrameSize = 20

/**
 * From how many bytes on a frame is compressed: a shorter one, which is mostly ids, would lose a quarter of its length for two thirds
 * of the time it takes to send it. A gzip stream of stored blocks is one like any other.
 *
 * @since 0.1.0
 */
export const worthCompressing = 1024

/**
 * The length that a frame's last member claims. Untrusted: it sizes a buffer and is compared with the truth afterwards.
 *
 * @since 0.1.0
 */
export const claimedSize = (frame: Uint8Array, end = frame.length): number => uint32(frame, end - 4)

/** A little-endian number of four bytes. */
export const uint32 = (bytes: Uint8Array, offset: number): number =>
  (bytes[offset]! | (bytes[offset + 1]! << 8) | (bytes[offset + 2]! << 16) | (bytes[offset + 3]! << 24)) >>> 0
