// The page of `effect-blaze dev`.
import { render } from "preact"
import { useRef, useState } from "preact/hooks"
import type { Action, Chat, Scene } from "../src/cli/dev/Scene.ts"
import { inShort } from "./Bubble.tsx"
import { Panel } from "./Panel.tsx"
import { act, useScene } from "./server.ts"
import { Talk } from "./Talk.tsx"

const statusOf = ({ connections, process }: Scene["bot"]): readonly [kind: string, words: string] => {
  if (process._tag === "Ended") return ["bad", `The bot ${process.how}`]
  if (connections > 0) return ["good", "The bot is connected"]
  return ["waiting", process._tag === "Starting" ? "The bot is being begun" : "The bot is not connected"]
}

const Chats = ({
  chats,
  onChoose,
  selected
}: {
  chats: ReadonlyArray<Chat>
  onChoose: (id: string) => void
  selected: string | undefined
}) => (
  <ul>
    {chats.map((chat) => {
      const last = chat.messages.at(-1)
      const unread = chat.messages.filter(
        ({ from, isGone, state }) => from === undefined && state !== "read" && !isGone
      )
      return (
        <li>
          <button
            type="button"
            class="chat"
            aria-current={chat.id === selected ? "true" : undefined}
            onClick={() => onChoose(chat.id)}
          >
            <strong>{chat.title}</strong>
            {unread.length > 0 && chat.id !== selected && <span class="unread">{unread.length} new</span>}
            <span class="last">{last === undefined ? "" : inShort(last).slice(0, 80)}</span>
          </button>
        </li>
      )
    })}
  </ul>
)

const Adding = ({ doing, scene }: { doing: (action: Action) => Promise<unknown>; scene: Scene }) => {
  const [name, setName] = useState("")
  return (
    <form
      class="adding"
      onSubmit={(event) => {
        event.preventDefault()
        void doing({ _tag: "AddPerson", name }).then(() => setName((typed) => (typed === name ? "" : typed)))
      }}
    >
      <label>
        Somebody else: <input value={name} onInput={({ currentTarget }) => setName(currentTarget.value)} />
      </label>
      <button type="submit">Add</button>
      <button
        type="button"
        onClick={() => void doing({ _tag: "MakeGroup", people: scene.people.map((person) => person.name) })}
      >
        A group of all
      </button>
    </form>
  )
}

const Page = () => {
  const { isThere, scene } = useScene()
  const [chosen, setChosen] = useState<string>()
  const [problem, setProblem] = useState<string>()
  const [saved, setSaved] = useState<{ readonly code: string; readonly path: string }>()
  const dialog = useRef<HTMLDialogElement>(null)
  if (scene === undefined) return <p class="hello">{isThere ? "Loading ..." : "effect-blaze dev is not there."}</p>

  const doing = (action: Action) =>
    act(action).then(
      (answer) => {
        setProblem(undefined)
        return answer
      },
      (error: unknown) => {
        setProblem(error instanceof Error ? error.message : String(error))
        // Whoever goes on after this has nothing to go on with.
        return new Promise<never>(() => {})
      }
    )
  const chat = scene.chats.find(({ id }) => id === chosen) ?? scene.chats[0]
  const [kind, words] = isThere ? statusOf(scene.bot) : ["bad", "effect-blaze dev is not there"]
  const { process } = scene.bot
  return (
    <>
      <header class="top row">
        <h1>{scene.bot.file}</h1>
        <p class={`status ${kind}`} role="status">
          {words}
        </p>
        <p>Mixin ID {scene.bot.identityNumber}</p>
      </header>
      {process._tag === "Ended" && isThere && (
        <div class="crash" role="alert">
          <p>It begins again when a file changes. What it said last:</p>
          <pre>{process.words}</pre>
        </div>
      )}
      {problem !== undefined && (
        <p class="crash row" role="alert">
          {problem}{" "}
          <button type="button" onClick={() => setProblem(undefined)}>
            Close
          </button>
        </p>
      )}
      <main>
        <nav aria-label="Conversations">
          <Chats chats={scene.chats} selected={chat?.id} onChoose={setChosen} />
          <Adding doing={doing} scene={scene} />
        </nav>
        {chat === undefined ? (
          <p class="hello">Nobody is here yet: add somebody.</p>
        ) : (
          <Talk
            act={doing}
            chat={chat}
            scene={scene}
            onProblem={setProblem}
            onSaved={(test) => {
              setSaved(test)
              dialog.current?.showModal()
            }}
          />
        )}
        <Panel act={doing} scene={scene} />
      </main>
      <dialog ref={dialog} aria-label="The conversation as a test">
        <p>
          Saved as <code>{saved?.path}</code>.
        </p>
        <pre tabIndex={0}>{saved?.code}</pre>
        <form method="dialog">
          <button type="submit">Close</button>
        </form>
      </dialog>
    </>
  )
}

render(<Page />, document.getElementById("page")!)
