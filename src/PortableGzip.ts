/**
 * The codec of frames on fflate, which runs anywhere.
 *
 * Guarantee: that of `Gzip`, checksums included, which fflate does not look at.
 *
 * @since 0.1.0
 */
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import { Gunzip, gzipSync, inflateSync } from "fflate"
import type * as BlazeError from "./BlazeError.ts"
import * as Gzip from "./Gzip.ts"

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
  end >= Gzip.minimumFrameSize - 2 &&
  Gzip.uint32(frame, end - 8) === crc32(bytes, from, to) &&
  Gzip.claimedSize(frame, end) === to - from

const plainHeaderSize = 10

// Nearly every frame is one member without optional header fields: inflate it in one go. What does not fit the buffer is dropped in
// silence, so it has one byte more than is claimed, to tell a frame that claims too little.
const gunzipPlain = (frame: Uint8Array): Uint8Array | undefined => {
  if (frame[3] !== 0) return undefined
  const size = Gzip.claimedSize(frame)
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
      if (size > maximumSize) return Gzip.tooLarge(maximumSize)
    }
    gunzip.push(new Uint8Array(0), true)
  } catch {
    return Gzip.damaged
  }
  if (size > maximumSize) return Gzip.tooLarge(maximumSize)
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
  return intact ? Result.succeed(bytes) : Gzip.damaged
}

/**
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<Gzip.Gzip> = Layer.succeed(Gzip.Gzip, {
  gzip: (bytes) => gzipSync(bytes, { level: bytes.length < Gzip.worthCompressing ? 0 : 1, mtime: 0 }),
  gunzip: (frame, maximumSize) => {
    if (frame.length < Gzip.minimumFrameSize - 2 || frame[0] !== 0x1f || frame[1] !== 0x8b || frame[2] !== 8)
      return Gzip.damaged
    const plain = Gzip.claimedSize(frame) <= maximumSize ? gunzipPlain(frame) : undefined
    return plain === undefined ? gunzipMembers(frame, maximumSize) : Result.succeed(plain)
  }
})
