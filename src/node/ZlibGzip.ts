/**
 * The gzip codec on Node's zlib, a third of the time of the portable one.
 *
 * Guarantee: the same as `Gzip`, to the letter. The portable codec is more lenient in three things: a stored block whose length and its
 * complement disagree, bytes between the end of the data and the trailer, and a second member equal to the first, which it leaves out.
 *
 * @since 0.1.0
 */
import * as Layer from "effect/Layer"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import * as Zlib from "node:zlib"
import * as Gzip from "../Gzip.ts"

// One output chunk of just the right size saves zlib a copy; what a frame claims beyond this is not believed.
const maximumChunkSize = 1024 * 1024
const minimumChunkSize = 64

const gzip = (bytes: Uint8Array): Uint8Array =>
  Zlib.gzipSync(bytes, { level: bytes.length < Gzip.worthCompressing ? 0 : 1 })

const gunzip: Gzip.Gzip["Service"]["gunzip"] = (frame, maximumSize) => {
  if (frame.length < Gzip.minimumFrameSize - 2) return Gzip.damaged
  const claimed = Gzip.claimedSize(frame)
  const options = {
    chunkSize: Math.min(Math.max(claimed + 1, minimumChunkSize), maximumChunkSize),
    maxOutputLength: maximumSize
  }
  try {
    const bytes = Zlib.gunzipSync(frame, options)
    if (bytes.length === claimed) return Result.succeed(bytes)
    // Several members, or zeros after the last one, which zlib passes over in silence.
    const { engine } = Zlib.gunzipSync(frame, { ...options, info: true }) as unknown as {
      readonly engine: { readonly bytesWritten: number }
    }
    return engine.bytesWritten === frame.length ? Result.succeed(bytes) : Gzip.damaged
  } catch (cause) {
    return (cause as NodeJS.ErrnoException).code === "ERR_BUFFER_TOO_LARGE" ? Gzip.tooLarge(maximumSize) : Gzip.damaged
  }
}

// What Node makes and throws away for every synchronous call takes as long as the call's own work. The object below it can be used
// again; it has no public interface, but the same one in the releases that are named here, on which its tests were run.
const isKnown = /^v(22|24|26)\./.test(process.version) && process.versions["bun"] === undefined

const isReusable = (stream: Zlib.Gzip) => {
  const { _handle: handle, _writeState: state } = stream as unknown as Readonly<Record<string, unknown>>
  return (
    Predicate.hasProperty(handle, "writeSync") && Predicate.hasProperty(handle, "reset") && state instanceof Uint32Array
  )
}

/** The largest frame, in bytes before compression, that goes through the object that is used again. */
const scratchSize = 256 * 1024
const maximumReused = 16 * 1024

interface Handle {
  onerror: () => void
  readonly reset: () => void
  readonly writeSync: (
    flush: number,
    input: Uint8Array,
    inputOffset: number,
    inputLength: number,
    output: Uint8Array,
    outputOffset: number,
    outputLength: number
  ) => void
}

/** Runs one whole input through; gives the length of the output, or nothing where the public interface has to decide. */
const reuse = (stream: Zlib.Gzip | Zlib.Gunzip, output: Uint8Array) => {
  const { _handle: handle, _writeState: state } = stream as unknown as {
    readonly _handle: Handle
    readonly _writeState: Uint32Array
  }
  let failed = false
  handle.onerror = () => {
    failed = true
  }
  return (input: Uint8Array): number | undefined => {
    failed = false
    handle.reset()
    handle.writeSync(Zlib.constants.Z_FINISH, input, 0, input.length, output, 0, output.length)
    const [outputLeft, inputLeft] = state
    return failed || inputLeft !== 0 || outputLeft === 0 ? undefined : output.length - outputLeft!
  }
}

// The objects are never closed, for a call after that would end the process: the garbage collector takes them with the codec.
const makeReusing = (): Gzip.Gzip["Service"] => {
  const scratch = new Uint8Array(scratchSize)
  const inflater = Zlib.createGunzip()
  // The least memory there is: what is stored needs no window.
  const storing = Zlib.createGzip({ level: 0, windowBits: 9, memLevel: 1 })
  const store = reuse(storing, scratch)
  // A small window, for small frames: its tables are cleared for each of them. Many a bot never sends one that is compressed.
  let deflate: ((input: Uint8Array) => number | undefined) | undefined
  const inflate = reuse(inflater, scratch)
  return {
    gzip: (bytes) => {
      const small = bytes.length < Gzip.worthCompressing
      let length: number | undefined
      if (small) length = store(bytes)
      else if (bytes.length <= maximumReused) {
        deflate ??= reuse(Zlib.createGzip({ level: 1, windowBits: 12, memLevel: 5 }), scratch)
        length = deflate(bytes)
      }
      return length === undefined ? gzip(bytes) : scratch.slice(0, length)
    },
    gunzip: (frame, maximumSize) => {
      const fits = frame.length >= Gzip.minimumFrameSize - 2 && Gzip.claimedSize(frame) < scratchSize
      const length = fits ? inflate(frame) : undefined
      return length === undefined || length > maximumSize
        ? gunzip(frame, maximumSize)
        : Result.succeed(scratch.subarray(0, length))
    }
  }
}

/**
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<Gzip.Gzip> = Layer.sync(Gzip.Gzip, () =>
  isKnown && isReusable(Zlib.createGzip()) ? makeReusing() : { gzip, gunzip }
)
