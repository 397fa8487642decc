// npm run test:ciphertexts -- --seed N --count N
//
// Mutated encrypted messages, of ours and of a published client: no exception, no wrong plaintext, no growth.
import { Effect, Redacted, Result } from "effect"
import { SynchronousCryptography } from "effect-blaze/node"
import { parseArgs } from "node:util"
import * as Cipher from "../../src/internal/Cipher.ts"
import { bytes, hex, seeded, vectors } from "../support.ts"

const { values: args } = parseArgs({ options: { seed: { type: "string" }, count: { type: "string" } } })
const seed = Number(args.seed ?? 1)
const count = Number(args.count ?? 1_000_000)

const random = seeded(seed)
const below = (n: number) => Math.floor(random() * n)

interface Input {
  readonly ciphertext_base64url: string
  readonly recipients: ReadonlyArray<{ readonly session_id: string; readonly ed25519_seed_hex: string }>
}

const mutate = (sealed: Uint8Array, others: ReadonlyArray<{ readonly sealed: Uint8Array }>): Uint8Array => {
  const mutated = sealed.slice()
  switch (below(10)) {
    case 0:
      return mutated.subarray(0, below(mutated.length + 1))
    case 1:
      return new Uint8Array([...mutated, ...mutated.subarray(0, below(200))])
    case 2: {
      // The beginning of one and the end of another.
      const { sealed: other } = others[below(others.length)]!
      return new Uint8Array([...mutated.subarray(0, below(mutated.length)), ...other.subarray(below(other.length))])
    }
    case 3:
      return Uint8Array.from({ length: below(600) }, (_, index) => (index === 0 ? 1 : below(256)))
    case 4:
      mutated[1] = below(256)
      mutated[2] = below(3)
      return mutated
    default:
      for (let times = 1 + below(4); times > 0; times--) mutated[below(mutated.length)] = below(256)
      return mutated
  }
}

const main = Effect.gen(function* () {
  const corpus = yield* Effect.forEach(
    vectors<Input, { readonly plaintext_hex?: string }>("encrypted-messages").filter(
      ({ expected, input }) => expected.plaintext_hex !== undefined && input.ciphertext_base64url.length < 2000
    ),
    Effect.fnUntraced(function* ({ expected, input }) {
      const { ed25519_seed_hex, session_id } = input.recipients.at(-1)!
      const own = yield* Cipher.makeSession(
        session_id,
        Redacted.make(bytes(Buffer.from(ed25519_seed_hex, "hex").toString("base64")))
      )
      const ours = yield* Cipher.seal(Buffer.from(expected.plaintext_hex!, "hex"), own, [
        { sessionId: session_id, publicKey: yield* own.publicKey }
      ])
      return [bytes(input.ciphertext_base64url), ours].map((sealed) => ({
        own,
        plaintext: expected.plaintext_hex!,
        sealed
      }))
    })
  )
  const all = corpus.flat()
  const began = process.hrtime.bigint()
  const reasons = new Map<string, number>()
  let read = 0
  let heap = 0
  for (let done = 0; done < count; done++) {
    const { own, plaintext, sealed } = all[done % all.length]!
    const mutated = mutate(sealed, all)
    const opened = yield* Effect.result(Cipher.open(mutated, own))
    if (Result.isSuccess(opened)) {
      read++
      // What was changed is not this session's, or was changed to what it had been; else its tag does not hold.
      if (!all.some((other) => other.own.sessionId === own.sessionId && other.plaintext === hex(opened.success))) {
        throw new Error(`read ${hex(opened.success)} in place of ${plaintext}`)
      }
    } else reasons.set(opened.failure, (reasons.get(opened.failure) ?? 0) + 1)
    if (heap === 0 && done >= count / 4) {
      globalThis.gc?.()
      heap = process.memoryUsage().heapUsed
    }
  }
  globalThis.gc?.()
  const growth = (process.memoryUsage().heapUsed - heap) / 2 ** 20
  const seconds = Number(process.hrtime.bigint() - began) / 1e9
  console.log(
    `ciphertexts: ${count}, seed ${seed}: ${read} read, heap ${growth.toFixed(1)} MiB more, ${seconds.toFixed(0)} s; ${[
      ...reasons
    ]
      .map(([reason, times]) => `${times} times ${reason}`)
      .join("; ")}`
  )
  if (growth > 20) throw new Error("memory has grown")
})

await Effect.runPromise(main.pipe(Effect.provide(SynchronousCryptography.layer)))
