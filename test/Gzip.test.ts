import { assert, describe, it } from "@effect/vitest"
import { Effect, Result } from "effect"
import { Gzip, PortableGzip } from "effect-blaze"
import { ZlibGzip } from "effect-blaze/node"
import { gunzipSync, gzipSync } from "node:zlib"

const large = 1024 * 1024
const zip = (text: string) => new Uint8Array(gzipSync(text))
const join = (...frames: ReadonlyArray<Uint8Array>) => new Uint8Array(Buffer.concat(frames))
const changed = (frame: Uint8Array, at: number) => {
  const copy = frame.slice()
  const index = at < 0 ? copy.length + at : at
  copy[index] = copy[index]! ^ 1
  return copy
}

const sound = zip("hello hello hello")

for (const [codec, layer] of Object.entries({ fflate: PortableGzip.layer, zlib: ZlibGzip.layer })) {
  const service = Effect.runSync(Effect.provide(Gzip.Gzip, layer))
  const text = (frame: Uint8Array, maximumSize = large) => {
    const result = service.gunzip(frame, maximumSize)
    return Result.isSuccess(result) ? new TextDecoder().decode(result.success) : undefined
  }

  describe(`gzip with ${codec}`, () => {
    it("the smallest frame holds nothing", () => {
      const empty = zip("")
      assert.strictEqual(empty.length, Gzip.minimumFrameSize)
      assert.strictEqual(text(empty), "")
    })

    it("refuses a frame when any byte of its magic, its checksum or its length is wrong", () => {
      assert.strictEqual(text(sound), "hello hello hello")
      for (const at of [0, 1, 2, -8, -7, -6, -5, -4, -3, -2, -1]) assert.isUndefined(text(changed(sound, at)), `${at}`)
    })

    it("refuses two members when any byte of the checksum or the length of the first is wrong", () => {
      const second = zip(" and more")
      assert.strictEqual(text(join(sound, second)), "hello hello hello and more")
      for (let back = 1; back <= 8; back++) assert.isUndefined(text(join(changed(sound, -back), second)), `${back}`)
      for (const at of [0, 1, 2, -8, -1]) assert.isUndefined(text(join(sound, changed(second, at))), `${at}`)
    })

    it("refuses a frame that is cut anywhere, and one with anything behind it", () => {
      for (let length = 0; length < sound.length; length++) assert.isUndefined(text(sound.subarray(0, length)))
      for (const rest of [[0], [1], [0x1f], [0x1f, 0x8b, 8], Array.from({ length: 30 }, () => 0)]) {
        assert.isUndefined(text(join(sound, Uint8Array.from(rest))))
      }
    })

    it("takes what inflates to the limit and refuses one byte more, in one member, in several and in many slices", () => {
      const noise = Array.from({ length: 3000 }, (_, n) => String(n * 7919)).join("")
      for (const [frame, whole] of [
        [sound, "hello hello hello"],
        [join(sound, zip("ab")), "hello hello helloab"],
        [join(zip(noise), zip(noise), zip("")), noise + noise]
      ] as const) {
        assert.strictEqual(text(frame, whole.length), whole)
        assert.isUndefined(text(frame, whole.length - 1))
      }
    })

    it("what it wrote can be read, and is the same each time", () => {
      const bytes = new TextEncoder().encode("你好 🌍".repeat(100))
      const frame = service.gzip(bytes)
      assert.isBelow(frame.length, bytes.length / 2)
      assert.deepStrictEqual(service.gzip(bytes), frame)
      assert.strictEqual(text(frame), "你好 🌍".repeat(100))
    })
  })
}

describe("the objects that the zlib codec uses again", () => {
  const { gunzip, gzip } = Effect.runSync(Effect.provide(Gzip.Gzip, ZlibGzip.layer))
  const text = (frame: Uint8Array) => {
    const result = gunzip(frame, large)
    return Result.isSuccess(result) ? new TextDecoder().decode(result.success) : undefined
  }

  it("are sound after every kind of bad frame", () => {
    const bomb = zip("x".repeat(20 * large))
    const lying = changed(zip("y".repeat(200_000)), -1).slice()
    // It claims to be short, so that it goes through the object, which it overflows.
    lying.set([1, 0, 0, 0], lying.length - 4)
    for (const bad of [
      changed(sound, 12),
      sound.subarray(0, 20),
      changed(sound, -6),
      join(sound, sound.subarray(0, 9)),
      lying,
      bomb
    ]) {
      assert.isUndefined(text(bad))
      assert.strictEqual(text(sound), "hello hello hello")
      assert.strictEqual(text(gzip(new TextEncoder().encode("and back"))), "and back")
    }
  })

  it("give way to the public interface where a frame is too large for them, in both directions", () => {
    for (const length of [
      0,
      1,
      1023,
      1024,
      16 * 1024,
      16 * 1024 + 1,
      64 * 1024 - 1,
      64 * 1024,
      64 * 1024 + 1,
      900_000
    ]) {
      const noise = Array.from({ length: Math.ceil(length / 5) }, (_, n) =>
        String((n * 7919) % 99_991).padStart(5, "0")
      )
      const whole = noise.join("").slice(0, length)
      const frame = gzip(new TextEncoder().encode(whole))
      assert.strictEqual(text(frame), whole, `${length}`)
      assert.strictEqual(text(zip(whole)), whole, `${length}`)
      assert.strictEqual(gunzipSync(frame).toString(), whole, `${length}`)
    }
  })

  it("serve each of several codecs alone", () => {
    const other = Effect.runSync(Effect.provide(Gzip.Gzip, ZlibGzip.layer))
    const mine = gunzip(zip("mine"), large)
    const theirs = other.gunzip(zip("theirs"), large)
    assert(Result.isSuccess(mine) && Result.isSuccess(theirs))
    assert.strictEqual(new TextDecoder().decode(mine.success), "mine")
    assert.strictEqual(new TextDecoder().decode(theirs.success), "theirs")
  })
})

describe("the work of fflate", () => {
  const { gunzip } = Effect.runSync(Effect.provide(Gzip.Gzip, PortableGzip.layer))

  /** How many parts of a frame are looked at. */
  const parts = (bytes: Uint8Array, maximumSize = large) => {
    let count = 0
    class Counting extends Uint8Array {
      override subarray(begin?: number, end?: number) {
        count++
        return new Uint8Array(this.buffer, this.byteOffset, this.byteLength).subarray(begin, end) as this
      }
    }
    const result = gunzip(Counting.from(bytes), maximumSize)
    return { count, taken: Result.isSuccess(result) }
  }

  it("a frame of one plain member is inflated in one go, however large", () => {
    assert.deepStrictEqual(parts(sound), { count: 1, taken: true })
    assert.deepStrictEqual(parts(zip("")), { count: 1, taken: true })
    const noise = Array.from({ length: 30_000 }, (_, n) => String(n * 7919)).join("")
    assert.isAbove(zip(noise).length, 8 * 4096)
    assert.deepStrictEqual(parts(zip(noise)), { count: 1, taken: true })
    assert.deepStrictEqual(parts(zip(noise), noise.length), { count: 1, taken: true })
  })

  it("one with optional header fields is not tried that way", () => {
    const named = join(sound.subarray(0, 10), Uint8Array.from([0x61, 0]), sound.subarray(10))
    named[3] = 8
    assert.deepStrictEqual(parts(named), { count: 1, taken: true })
    named[4] = 1
    assert.deepStrictEqual(parts(named), { count: 1, taken: true })
  })

  it("what is no gzip is not inflated at all", () => {
    for (const at of [0, 1, 2]) assert.deepStrictEqual(parts(changed(sound, at)), { count: 0, taken: false })
    assert.deepStrictEqual(parts(sound.subarray(0, 17)), { count: 0, taken: false })
  })

  it("a bomb is inflated slice by slice, and no further than the limit", () => {
    const bomb = zip("x".repeat(20 * large))
    assert.isAbove(bomb.length, 4 * 4096)
    assert.deepStrictEqual(parts(bomb), { count: 1, taken: false })
  })
})
