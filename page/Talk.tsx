// One conversation, and what somebody can say in it.
import { useEffect, useRef, useState } from "preact/hooks"
import type { Action, Chat, Message, Scene } from "../src/cli/dev/Scene.ts"
import { Bubble, inShort } from "./Bubble.tsx"

type Do = (action: Action) => Promise<unknown>

const base64Of = (file: File) =>
  new Promise<string>((resolve, reject) => {
    const reader = new FileReader()
    reader.addEventListener("load", () => resolve(String(reader.result).replace(/^[^,]*,/, "")))
    reader.addEventListener("error", () => reject(new Error("The file cannot be read.")))
    reader.readAsDataURL(file)
  })

const sizeOf = (file: File) =>
  createImageBitmap(file).then(
    ({ height, width }) => ({ width, height }),
    () => undefined
  )

/** What goes through in base64, with room to spare. */
const maximumFile = 10 * 1024 * 1024

const fileAction = async (person: string, chat: string, file: File): Promise<Action> => {
  const base64 = await base64Of(file)
  const size = file.type.startsWith("image/") ? await sizeOf(file) : undefined
  return size === undefined
    ? {
        _tag: "SendFile",
        person,
        chat,
        category: "PLAIN_DATA",
        base64,
        fields: { name: file.name, mime_type: file.type }
      }
    : { _tag: "SendFile", person, chat, category: "PLAIN_IMAGE", base64, fields: { ...size, mime_type: file.type } }
}

const others: ReadonlyArray<readonly [label: string, category: string, payload: (scene: Scene) => unknown]> = [
  ["Sticker", "PLAIN_STICKER", () => ({ sticker_id: crypto.randomUUID(), name: "smile" })],
  ["Contact", "PLAIN_CONTACT", (scene) => ({ user_id: scene.people[0]?.userId ?? "" })],
  [
    "Location",
    "PLAIN_LOCATION",
    () => ({ latitude: 35.68, longitude: 139.76, name: "Tokyo Station", address: "Japan" })
  ]
]

const Composer = ({
  act,
  chat,
  onDone,
  onProblem,
  quoting,
  scene,
  speaker
}: {
  act: Do
  chat: Chat
  onDone: () => void
  onProblem: (sentence: string) => void
  quoting: Message | undefined
  scene: Scene
  speaker: string
}) => {
  const [text, setText] = useState("")
  const files = useRef<HTMLInputElement>(null)
  const say = () => {
    if (text.trim() === "") return
    const said = { person: speaker, chat: chat.id, text }
    void act(quoting === undefined ? { _tag: "Say", ...said } : { _tag: "Quote", ...said, message: quoting.id })
    // At once: what is typed while that is on its way is the next message.
    setText("")
    onDone()
  }
  const mention = `@${scene.bot.identityNumber} `
  return (
    <form
      class="composer"
      onSubmit={(event) => {
        event.preventDefault()
        say()
      }}
    >
      {quoting !== undefined && (
        <p class="quoting">
          In answer to: {inShort(quoting)}{" "}
          <button type="button" onClick={onDone}>
            Do not quote
          </button>
        </p>
      )}
      <textarea
        aria-label={`Message of ${speaker}`}
        placeholder={`${speaker} says ...`}
        rows={2}
        value={text}
        onInput={({ currentTarget }) => setText(currentTarget.value)}
        onKeyDown={(event) => {
          if (event.key !== "Enter" || event.shiftKey || event.isComposing) return
          event.preventDefault()
          say()
        }}
      />
      <div class="row">
        <button type="submit">Send</button>
        {chat.isGroup && (
          <button type="button" onClick={() => setText((text) => (text.startsWith(mention) ? text : mention + text))}>
            Mention the bot
          </button>
        )}
        <button type="button" onClick={() => files.current?.click()}>
          File
        </button>
        <input
          ref={files}
          class="hidden"
          type="file"
          aria-label="A file or an image to send"
          tabIndex={-1}
          onChange={({ currentTarget }) => {
            const [file] = currentTarget.files ?? []
            currentTarget.value = ""
            if (file === undefined) return
            if (file.size > maximumFile) onProblem("This page sends files of at most 10 MiB.")
            else void fileAction(speaker, chat.id, file).then(act, () => onProblem("The file cannot be read."))
          }}
        />
        {others.map(([label, category, payload]) => (
          <button
            type="button"
            onClick={() =>
              void act({
                _tag: "Send",
                person: speaker,
                chat: chat.id,
                category,
                payload: JSON.stringify(payload(scene))
              })
            }
          >
            {label}
          </button>
        ))}
        {!chat.isGroup && (
          <button
            type="button"
            onClick={() =>
              void act({
                _tag: "Pay",
                person: speaker,
                asset: "c6d0c728-2624-429b-8e0d-d9d19b6592fa",
                amount: "0.001",
                memo: text
              })
            }
          >
            Pay 0.001 BTC
          </button>
        )}
      </div>
    </form>
  )
}

export const Talk = ({
  act,
  chat,
  onProblem,
  onSaved,
  scene
}: {
  act: Do
  chat: Chat
  onProblem: (sentence: string) => void
  onSaved: (saved: { readonly code: string; readonly path: string }) => void
  scene: Scene
}) => {
  const [chosen, setChosen] = useState(chat.people[0]!)
  const [quoting, setQuoting] = useState<Message>()
  const list = useRef<HTMLOListElement>(null)
  const speaker = chat.people.includes(chosen) ? chosen : chat.people[0]!
  const { length } = chat.messages
  const lastState = chat.messages.findLast(({ from }) => from === undefined)?.state

  useEffect(() => setQuoting(undefined), [chat.id])
  useEffect(() => {
    list.current?.scrollTo({ top: list.current.scrollHeight })
  }, [chat.id, length])
  // Who looks at a conversation has read it.
  useEffect(() => {
    if (lastState === "sent" || lastState === "delivered") void act({ _tag: "Read", person: speaker })
  }, [chat.id, length, lastState, speaker])

  return (
    <section class="talk" aria-label={`Conversation with ${chat.title}`}>
      <header class="row">
        <h2>{chat.title}</h2>
        {chat.isGroup && (
          <label>
            Speaks:{" "}
            <select value={speaker} onChange={({ currentTarget }) => setChosen(currentTarget.value)}>
              {chat.people.map((name) => (
                <option value={name}>{name}</option>
              ))}
            </select>
          </label>
        )}
        <button
          type="button"
          onClick={() =>
            void act({ _tag: "Save", chat: chat.id }).then((saved) => {
              if (saved !== undefined) onSaved(saved as { readonly code: string; readonly path: string })
            })
          }
        >
          Save as a test
        </button>
      </header>
      <ol ref={list} class="messages" aria-live="polite" tabIndex={0} aria-label="Messages">
        {chat.messages.map((message) => (
          <Bubble
            key={message.id}
            chat={chat}
            message={message}
            scene={scene}
            onTap={(label) => void act({ _tag: "Tap", person: speaker, chat: chat.id, message: message.id, label })}
            actions={
              <>
                <button type="button" class="small" onClick={() => setQuoting(message)}>
                  Quote
                </button>
                {message.from !== undefined && message.category !== "PAID" && (
                  <button
                    type="button"
                    class="small"
                    onClick={() =>
                      void act({ _tag: "Recall", person: message.from!, chat: chat.id, message: message.id })
                    }
                  >
                    Take back
                  </button>
                )}
              </>
            }
          />
        ))}
      </ol>
      <Composer
        key={chat.id}
        act={act}
        chat={chat}
        quoting={quoting}
        scene={scene}
        speaker={speaker}
        onProblem={onProblem}
        onDone={() => setQuoting(undefined)}
      />
    </section>
  )
}
