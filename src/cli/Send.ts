/**
 * `effect-blaze send`: a text to one, or to very many.
 *
 * Guarantee: started again with the same key it reaches nobody twice; it ends with 1 where somebody could not be reached.
 *
 * @since 0.1.0
 */
import * as Arr from "effect/Array"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Broadcast from "../Broadcast.ts"
import * as Ids from "../Ids.ts"
import * as NodeBlaze from "../node/NodeBlaze.ts"
import * as Sender from "../Sender.ts"
import * as Common from "./Common.ts"

const decodeUser = Schema.decodeEffect(Ids.UserId)

const userIn = (text: string) =>
  Effect.map(
    Effect.catch(decodeUser(text), () =>
      Common.wrong(`${JSON.stringify(text)} is not the id of a user, which is a UUID.`)
    ),
    (user) => Ids.toLowerCase(user) as Ids.UserId
  )

const usersIn = Effect.fnUntraced(function* (file: string) {
  const files = yield* FileSystem.FileSystem
  const text = yield* Effect.catch(files.readFileString(file), () => Common.wrong(`The file ${file} cannot be read.`))
  return yield* Effect.forEach(
    text.split("\n").flatMap((line) => (line.trim() === "" ? [] : [line.trim()])),
    userIn
  )
})

/** How long one message may take: tries and all. */
const patience = "2 minutes"

const toOne = Effect.fnUntraced(function* (
  user: Ids.UserId,
  text: string,
  key: Option.Option<string>,
  isJson: boolean
) {
  const { derive, send } = yield* Sender.Sender
  const id = Option.isNone(key) ? undefined : yield* derive("broadcast", key.value, user)
  const messageId = yield* send({ user }, text, { id }).pipe(
    Effect.timeoutOrElse({
      duration: patience,
      orElse: () => Common.wrong("There was no answer within 2 minutes. It may have been sent all the same.")
    })
  )
  yield* Console.log(isJson ? JSON.stringify({ _tag: "Accepted", userId: user, messageId }) : messageId)
})

const partly = Common.wrong("Somebody could not be reached.")

const toMany = Effect.fnUntraced(function* (
  users: ReadonlyArray<Ids.UserId>,
  text: string,
  key: string,
  isJson: boolean
) {
  if (isJson) {
    let refused = 0
    yield* Stream.fromIterable(users).pipe(
      Broadcast.sendAll(() => text, { key }),
      Stream.runForEach((outcome) => {
        if (outcome._tag === "Accepted") return Console.log(JSON.stringify(outcome))
        refused++
        return Console.log(JSON.stringify({ ...outcome, error: outcome.error.message }))
      })
    )
    return yield* refused > 0 ? partly : Effect.void
  }
  const { accepted, refused } = yield* Stream.fromIterable(users).pipe(
    Broadcast.run(() => text, { key, total: users.length, onProgress: Broadcast.progressBar })
  )
  yield* Console.log(`${accepted} sent, ${refused} refused`)
  if (refused > 0) return yield* partly
})

const send = Effect.fnUntraced(function* (options: {
  readonly file: Option.Option<string>
  readonly json: boolean
  readonly key: Option.Option<string>
  readonly text: string
  readonly to: ReadonlyArray<string>
}) {
  const named = yield* Effect.forEach(options.to, userIn)
  const users = Arr.dedupe([...named, ...(Option.isSome(options.file) ? yield* usersIn(options.file.value) : [])])
  const [first] = users
  if (first === undefined) return yield* Common.wrong("Say to whom: --to ID, or --users FILE with an id in each line.")
  if (Option.contains(options.key, "")) {
    return yield* Common.wrong("The --key is empty: is a variable of the shell not set?")
  }
  if (users.length === 1) return yield* toOne(first, options.text, options.key, options.json)
  if (Option.isNone(options.key)) {
    return yield* Common.wrong("Say --key WORD: with the same one again nobody gets it twice.")
  }
  return yield* toMany(users, options.text, options.key.value, options.json)
})

/**
 * @category commands
 * @since 0.1.0
 */
export const command = Command.make(
  "send",
  {
    text: Argument.String("text").pipe(Argument.withDescription("What is sent")),
    to: Flag.String("to").pipe(
      Flag.withMetavar("ID"),
      Flag.withDescription("To whom; may be given several times"),
      Flag.between(0, Number.MAX_SAFE_INTEGER)
    ),
    file: Flag.String("users").pipe(
      Flag.withMetavar("FILE"),
      Flag.withDescription("To everybody in a file, an id in each line"),
      Flag.optional
    ),
    key: Flag.String("key").pipe(
      Flag.withMetavar("WORD"),
      Flag.withDescription("What is announced, in a word: with the same one again nobody gets it twice"),
      Flag.optional
    ),
    keystore: Common.keystore,
    json: Common.json("A line of JSON for each recipient")
  },
  ({ file, json, key, keystore, text, to }) =>
    send({ file, json, key, text, to }).pipe(Effect.provide(NodeBlaze.layerSenderConfig), Common.withKeystore(keystore))
).pipe(
  Command.withDescription("Sends a text in a bot's name, without a connection that would take its messages"),
  Command.withExamples([
    { command: 'effect-blaze send --to 773e5e77-4107-45c2-b648-8fc722ed77f5 "Hello"', description: "To one" },
    {
      command: 'effect-blaze send --users everybody.txt --key "spring sale" "The sale begins."',
      description: "To many"
    }
  ])
)
