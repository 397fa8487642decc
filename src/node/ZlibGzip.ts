/**
 * The gzip codec on Node's zlib, about half the time of the portable one.
 *
 * Guarantee: the same as `Gzip`. What it accepts the portable codec accepts too, and reads alike; it refuses one thing more, a stored
 * block whose length and its complement disagree, where the portable one lets the checksum decide.
 *
 * @since 0.1.0
 */
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Zlib from "node:zlib"
import * as Gzip from "../Gzip.ts"

// One output chunk of just the right size saves zlib a copy; what a frame claims beyond this is not believed.
const maximumChunkSize = 1024 * 1024
const minimumChunkSize = 64

/**
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<Gzip.Gzip> = Layer.succeed(Gzip.Gzip, {
  gzip: (bytes) => Zlib.gzipSync(bytes, { level: 1 }),
  gunzip: (frame, maximumSize) => {
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
      return (cause as NodeJS.ErrnoException).code === "ERR_BUFFER_TOO_LARGE"
        ? Gzip.tooLarge(maximumSize)
        : Gzip.damaged
    }
  }
})
