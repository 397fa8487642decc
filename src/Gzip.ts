/**
 * The compression of frames, as a service with two implementations: fflate here, which runs anywhere, and zlib in
 * `effect-blaze/node`.
 *
 * Guarantee: a frame is one or more whole gzip members with matching checksums and lengths and nothing after them; anything
 * else is refused, and no frame inflates beyond the limit, whatever it claims.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import { Gunzip, gzipSync, inflateSync } from "fflate"
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

const uint32 = (bytes: Uint8Array, offset: number): number =>
  (bytes[offset]! | (bytes[offset + 1]! << 8) | (bytes[offset + 2]! << 16) | (bytes[offset + 3]! << 24)) >>> 0

// fflate checks no checksums, and exports none.
const crcTable = /* @__PURE__ */ Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1
  return value
})

const crc32 = (bytes: Uint8Array, start: number, end: number): number => {
  let value = 0xffffffff
  for (let index = start; index < end; index++) value = crcTable[(value ^ bytes[index]!) & 0xff]! ^ (value >>> 8)
  return (value ^ 0xffffffff) >>> 0
}

const trailerMatches = (frame: Uint8Array, end: number, bytes: Uint8Array, from: number, to: number): boolean =>
  end >= minimumFrameSize - 2 &&
  uint32(frame, end - 8) === crc32(bytes, from, to) &&
  claimedSize(frame, end) === to - from

const plainHeaderSize = 10

// Nearly every frame is one member without optional header fields: inflate it in one go. What does not fit the buffer is dropped in
// silence, so it has one byte more than is claimed, to tell a frame that claims too little.
const gunzipPlain = (frame: Uint8Array): Uint8Array | undefined => {
  if (frame[3] !== 0) return undefined
  const size = claimedSize(frame)
  try {
    const bytes = inflateSync(frame.subarray(plainHeaderSize, -8), { out: new Uint8Array(size + 1) })
    return bytes.length === size && trailerMatches(frame, frame.length, bytes, 0, size) ? bytes : undefined
  } catch {
    return undefined
  }
}

// Deflate expands 1032 times at most, so a slice bounds what can come out before the limit is looked at again.
const sliceSize = 4096

const gunzipMembers = (frame: Uint8Array, maximumSize: number): Result.Result<Uint8Array, BlazeError.BlazeError> => {
  const parts: Array<Uint8Array> = []
  const members: Array<{ readonly from: number; readonly end: number }> = []
  let size = 0
  let from = 0
  const gunzip = new Gunzip((part) => {
    size += part.length
    if (size <= maximumSize) parts.push(part)
  })
  gunzip.onmember = (offset) => {
    members.push({ from, end: offset })
    from = size
  }
  try {
    for (let offset = 0; offset < frame.length; offset += sliceSize) {
      gunzip.push(frame.subarray(offset, offset + sliceSize), false)
      if (size > maximumSize) return tooLarge(maximumSize)
    }
    gunzip.push(new Uint8Array(0), true)
  } catch {
    return damaged
  }
  if (size > maximumSize) return tooLarge(maximumSize)
  members.push({ from, end: frame.length })
  const bytes = new Uint8Array(size)
  let offset = 0
  for (const part of parts) {
    bytes.set(part, offset)
    offset += part.length
  }
  const intact = members.every((member, index) =>
    trailerMatches(frame, member.end, bytes, member.from, members[index + 1]?.from ?? size)
  )
  return intact ? Result.succeed(bytes) : damaged
}

/**
 * The portable codec.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerFflate: Layer.Layer<Gzip> = Layer.succeed(Gzip, {
  gzip: (bytes) => gzipSync(bytes, { level: bytes.length < worthCompressing ? 0 : 1, mtime: 0 }),
  gunzip: (frame, maximumSize) => {
    if (frame.length < minimumFrameSize - 2 || frame[0] !== 0x1f || frame[1] !== 0x8b || frame[2] !== 8) return damaged
    const plain = claimedSize(frame) <= maximumSize ? gunzipPlain(frame) : undefined
    return plain === undefined ? gunzipMembers(frame, maximumSize) : Result.succeed(plain)
  }
})
