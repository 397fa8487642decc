import { ConfigProvider, Effect, Layer, Schedule } from "effect"
import type { BlazeServer } from "effect-blaze/testing"
import { LocalServer } from "effect-blaze/testing"
import { NodeBlaze } from "effect-blaze/node"
import { readFileSync } from "node:fs"

export interface Case<Input, Expected> {
  readonly name: string
  readonly input: Input
  readonly expected: Expected
}

export const vectors = <Input, Expected>(name: string): ReadonlyArray<Case<Input, Expected>> =>
  JSON.parse(readFileSync(new URL(`vectors/${name}.json`, import.meta.url), "utf8")).cases

export const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex")

export const bytes = (base64: string) => new Uint8Array(Buffer.from(base64, "base64"))

interface Pem {
  readonly $pem: { label: string; newline: string; lead: string; lines: ReadonlyArray<string>; trail: string }
}

/** The text of a private key that a vector holds in parts. */
export const pem = (value: string | Pem): string => {
  if (typeof value === "string") return value
  const { label, lead, lines, newline, trail } = value.$pem
  return `${lead}-----BEGIN ${label}-----${newline}${lines.join(newline)}${newline}-----END ${label}-----${trail}`
}

/** Waits, in real time and for at most five seconds, until a real socket has done its part. */
export const eventually = (condition: Effect.Effect<boolean>) =>
  condition.pipe(
    Effect.repeat({ until: (done) => done, schedule: Schedule.spaced("10 millis") }),
    Effect.timeout("5 seconds"),
    Effect.orDie
  )

/** The layer of a bot that talks to the server on loopback. */
export const networkBot = (bot: BlazeServer.BotAccount) =>
  Layer.unwrap(
    Effect.map(LocalServer.LocalServer, (local) =>
      NodeBlaze.layerConfig.pipe(
        Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown(local.environment(bot))))
      )
    )
  )
