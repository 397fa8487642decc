// What is measured, and who takes part.
import type { Acks, Load } from "./job.ts"

export interface Contender {
  readonly name: string
  readonly client: string
  readonly program: string
  readonly acks: Acks
}

export interface Mode {
  readonly what: string
  readonly load: Omit<Load, "count">
  readonly inFlight: number
  /** Messages by default, and what part of them --count asks for. */
  readonly count: number
  readonly share: number
  readonly rounds: number
  readonly contenders: ReadonlyArray<Contender>
}

const programs: Readonly<Record<string, string>> = {
  bare: "clients/bare.ts",
  limit: "clients/bare.ts",
  "bare-fflate": "clients/bare.ts",
  official: "peers/official.ts",
  discard: "clients/discard.ts"
}

const contender = (client: string, acks: Acks, name = client): Contender => ({
  name,
  client,
  acks,
  program: programs[client] ?? "clients/effect-blaze.ts"
})

const bothWays = (clients: ReadonlyArray<string>) =>
  (["socket", "rest"] as const).flatMap((acks) =>
    clients.map((client) => contender(client, acks, `${client} ${acks === "rest" ? "REST" : "socket"}`))
  )

const plain = { conversations: 1000, size: 1200, rate: 0, warmUp: 0 } as const

const receiving = {
  load: { work: "receive", ...plain },
  inFlight: 0,
  count: 200_000,
  share: 1,
  rounds: 5
} as const

const sending = { load: { work: "send", ...plain }, count: 100_000, share: 1, rounds: 5 } as const

const clientsOf = (...clients: ReadonlyArray<string>) => clients.map((client) => contender(client, "socket"))

/** Whom the others are compared with: the bare loop as people write it, and the one with the tricks that there are. */
export const references = ["bare", "limit"] as const

/** The one that acknowledges in the same way, where it takes part. */
export const referenceOf = (contenders: ReadonlyArray<Contender>, client: string, acks: Acks) => {
  const candidates = contenders.filter((contender) => contender.client === client)
  return candidates.find((contender) => contender.acks === acks) ?? candidates[0]
}

const overRest = (...clients: ReadonlyArray<string>) => clients.map((client) => contender(client, "rest"))

export const modes: Readonly<Record<string, Mode>> = {
  server: {
    what: "what the server can give, read and discarded",
    ...receiving,
    load: { work: "discard", ...plain },
    contenders: clientsOf("discard")
  },
  "server-send": {
    what: "what the server can take, compressed beforehand, answers discarded",
    ...sending,
    inFlight: 0,
    contenders: clientsOf("discard")
  },
  receive: {
    what: "receive and acknowledge",
    ...receiving,
    contenders: [
      ...bothWays(["bare", "limit", "bare-fflate", "deliveries", "bot", "deliveries-fflate"]),
      contender("official", "socket", "official socket")
    ]
  },
  send: {
    what: "send, 32 in flight, the quota raised",
    ...sending,
    inFlight: 32,
    contenders: clientsOf("bare", "limit", "bare-fflate", "deliveries", "deliveries-fflate", "official")
  },
  "send-one": {
    what: "send, one at a time, the quota raised",
    ...sending,
    inFlight: 1,
    contenders: clientsOf("bare", "limit", "deliveries", "official")
  },
  echo: {
    what: "echo at 1 000 a second, acknowledged over REST",
    load: { work: "echo", ...plain, rate: 1000, warmUp: 2000 },
    inFlight: 0,
    count: 10_000,
    share: 0.1,
    rounds: 9,
    contenders: [...overRest("bare", "limit", "bot"), ...clientsOf("official")]
  },
  large: {
    what: "messages of 128 KiB",
    ...receiving,
    load: { work: "receive", ...plain, size: 128 * 1024 },
    count: 8000,
    share: 0.04,
    contenders: bothWays(["bare", "limit", "deliveries", "bot"])
  },
  million: {
    what: "receive and acknowledge, five times as many as in receive",
    ...receiving,
    count: 1_000_000,
    share: 5,
    rounds: 3,
    contenders: bothWays(["bare", "limit", "bot"])
  },
  durable: {
    what: "receive and acknowledge over REST, what was handled and what is remembered in memory and in SQLite",
    ...receiving,
    contenders: overRest("bare", "bot", "bot-sqlite", "bot-state", "bot-state-sqlite")
  },
  "conversations-10": {
    what: "receive and acknowledge in 10 conversations, over REST",
    ...receiving,
    load: { work: "receive", ...plain, conversations: 10 },
    contenders: overRest("bare", "limit", "bot")
  },
  "conversations-100000": {
    what: "receive and acknowledge in 100 000 conversations, over REST",
    ...receiving,
    load: { work: "receive", ...plain, conversations: 100_000 },
    contenders: overRest("bare", "limit", "bot")
  }
}
