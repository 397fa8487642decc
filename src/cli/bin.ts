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
import * as Command from "effect/cli/Command"
import manifest from "../../package.json" with { type: "json" }
import * as Create from "./Create.ts"
import * as Doctor from "./Doctor.ts"
import * as Listen from "./Listen.ts"
import * as Send from "./Send.ts"
import * as Serve from "./Serve.ts"

Command.make("effect-blaze").pipe(
  Command.withDescription("Bots for Mixin Messenger, from the terminal"),
  Command.withSubcommands([Create.command, Serve.command, Doctor.command, Listen.command, Send.command]),
  Command.run({ version: manifest.version }),
  Effect.provide(NodeServices.layer),
  NodeRuntime.runMain
)
