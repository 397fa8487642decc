// The raw wire: one authorised connection as a stream of envelopes in both directions, and nothing done for you.
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Console, Effect, Stream } from "effect"
import { BlazeSocket } from "effect-blaze"
import { NodeBlaze } from "effect-blaze/node"

const program = Effect.gen(function* () {
  const socket = yield* BlazeSocket.BlazeSocket
  const wire = yield* socket.open
  yield* wire.send({ id: crypto.randomUUID(), action: "LIST_PENDING_MESSAGES" })
  yield* wire.envelopes.pipe(
    Stream.take(2),
    Stream.runForEach(({ action, data }) => Console.log(action, data === undefined ? "answered" : "pushed"))
  )
})

program.pipe(Effect.scoped, Effect.provide(NodeBlaze.layerSocketConfig), NodeRuntime.runMain)
