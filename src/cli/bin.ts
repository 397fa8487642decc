#!/usr/bin/env node
/**
 * `npx effect-blaze`: what is done for a bot from the terminal.
 *
 * Guarantee: it needs nothing but Node and the package; it ends with 0, or with 1 and a sentence that says why.
 *
 * @since 0.1.0
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as Command from "effect/cli/Command"
import manifest from "../../package.json" with { type: "json" }
import * as Create from "./Create.ts"
import * as Dev from "./Dev.ts"
import * as Doctor from "./Doctor.ts"
import * as Listen from "./Listen.ts"
import * as Send from "./Send.ts"
import * as Serve from "./Serve.ts"

// Whoever reads what comes out has gone: there is nobody to work for, and no error.
const unread = Effect.callback<void>((resume) => {
  process.stdout.once("error", () => resume(Effect.void))
})
// A terminal that is closed ends it as Ctrl-C does.
process.once("SIGHUP", () => process.kill(process.pid, "SIGINT"))

Command.make("effect-blaze").pipe(
  Command.withDescription("Bots for Mixin Messenger, from the terminal"),
  Command.withSubcommands([Create.command, Dev.command, Serve.command, Doctor.command, Listen.command, Send.command]),
  Command.run({ version: manifest.version }),
  Effect.raceFirst(unread),
  Effect.provide(NodeServices.layer),
  // What a command is asked for goes to the standard output, and nothing else does.
  Effect.provideService(Logger.LogToStderr, true),
  NodeRuntime.runMain
)
