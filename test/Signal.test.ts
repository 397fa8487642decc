import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import * as Signal from "../src/internal/Signal.ts"

/** Waits for something of its own, and counts how often it was looked at. */
const waiting = Effect.fnUntraced(function* (signal: Signal.Signal, then: Effect.Effect<void> = Effect.void) {
  const state = { isSo: false, looked: 0 }
  const fiber = yield* Effect.forkChild(
    Effect.andThen(
      signal.until(() => {
        state.looked++
        return state.isSo
      }),
      then
    ),
    { startImmediately: true }
  )
  return { state, fiber }
})

describe("Signal", () => {
  it.effect("whoever waits goes on once it is so and somebody has said that things have changed", () =>
    Effect.gen(function* () {
      const signal = Signal.make()
      const { fiber, state } = yield* waiting(signal)
      signal.notify()
      yield* Effect.yieldNow
      assert.deepStrictEqual([fiber.pollUnsafe(), state.looked], [undefined, 2])
      state.isSo = true
      yield* Effect.yieldNow
      assert.isUndefined(fiber.pollUnsafe())
      signal.notify()
      yield* Fiber.join(fiber)
      signal.notify()
      assert.strictEqual(state.looked, 3)
    })
  )

  it.effect("does not wait for what is so already", () =>
    Effect.gen(function* () {
      yield* Signal.make().until(() => true)
    })
  )

  it.effect("one that is interrupted leaves nothing behind", () =>
    Effect.gen(function* () {
      const signal = Signal.make()
      const { fiber, state } = yield* waiting(signal)
      yield* Fiber.interrupt(fiber)
      signal.notify()
      assert.strictEqual(state.looked, 1)
    })
  )

  it.effect("nor does one that another interrupts which goes on before it", () =>
    Effect.gen(function* () {
      const signal = Signal.make()
      let second: Fiber.Fiber<void> | undefined
      const first = yield* waiting(
        signal,
        Effect.sync(() => second?.interruptUnsafe())
      )
      const other = yield* waiting(signal)
      second = other.fiber
      first.state.isSo = true
      signal.notify()
      yield* Fiber.await(other.fiber)
      const { looked } = other.state
      signal.notify()
      signal.notify()
      assert.strictEqual(other.state.looked, looked)
    })
  )
})
