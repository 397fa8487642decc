// One message, as Mixin draws it.
import type { ComponentChildren } from "preact"
import type { Chat, Message, Scene } from "../src/cli/dev/Scene.ts"

type Fields = Readonly<Record<string, unknown>>

const fieldsOf = (text: string): Fields => {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === "object" && value !== null ? (value as Fields) : {}
  } catch {
    return {}
  }
}

const textOf = (value: unknown) => (typeof value === "string" || typeof value === "number" ? String(value) : "")

interface ButtonView {
  readonly label: string
  readonly action: string
  readonly color: string
}

const buttonsOf = (value: unknown): ReadonlyArray<ButtonView> =>
  (Array.isArray(value) ? value : []).flatMap((button: unknown) => {
    if (typeof button !== "object" || button === null) return []
    const { action, color, label } = button as Fields
    return [{ action: textOf(action), color: textOf(color), label: textOf(label) }]
  })

/** Mixin's colours are chosen for white; these letters can be read on both. */
const Buttons = ({ buttons, onTap }: { buttons: ReadonlyArray<ButtonView>; onTap: (label: string) => void }) => (
  <div class="buttons">
    {buttons.map(({ action, label }) => (
      <button type="button" class="tap" title={action} onClick={() => onTap(label)}>
        {label}
      </button>
    ))}
  </div>
)

const isLink = (action: string) => /^(https?|mixin):/.test(action)

const Words = ({ text }: { text: string }) => (
  <>
    {text.split(/(https?:\/\/[^\s]+)/).map((part, index) =>
      index % 2 === 1 ? (
        <a href={part} target="_blank" rel="noopener noreferrer">
          {part}
        </a>
      ) : (
        part
      )
    )}
  </>
)

const kindOf = (category: string) => category.replace(/^(PLAIN|ENCRYPTED|SYSTEM|APP|MESSAGE)_/, "")

/** What a message is, in a line. */
export const inShort = ({ category, text }: Message): string => {
  const kind = kindOf(category)
  if (kind === "TEXT" || kind === "POST") return text
  const { amount, label, name, title } = fieldsOf(text)
  const what = [title, name, label, amount].map(textOf).find((word) => word !== "")
  return what === undefined ? kind.toLowerCase() : `${kind.toLowerCase()}: ${what}`
}

const Body = ({ message, onTap, scene }: { message: Message; onTap: (label: string) => void; scene: Scene }) => {
  const { category, id, text } = message
  const fields = fieldsOf(text)
  const file = `./files/${id}`
  switch (kindOf(category)) {
    case "TEXT":
      return (
        <p class="words">
          <Words text={text} />
        </p>
      )
    case "POST":
      return <pre class="post">{text}</pre>
    case "IMAGE":
      return message.from === undefined ? (
        <img
          src={file}
          alt="An image that the bot has sent"
          width={Math.min(280, Number(fields["width"]) || 280)}
          height={undefined}
        />
      ) : (
        <p class="words">an image, {textOf(fields["mime_type"])}</p>
      )
    case "DATA":
    case "VIDEO":
    case "AUDIO":
      return (
        <p class="words">
          {kindOf(category).toLowerCase()} {textOf(fields["name"])}{" "}
          {message.from === undefined && <a href={file}>Download</a>}
        </p>
      )
    case "STICKER":
      return <p class="words">sticker {textOf(fields["name"]) || textOf(fields["sticker_id"])}</p>
    case "CONTACT": {
      const user = textOf(fields["user_id"])
      return <p class="words">contact {scene.people.find(({ userId }) => userId === user)?.name ?? user}</p>
    }
    case "LOCATION":
      return (
        <p class="words">
          {textOf(fields["name"]) || "location"} {textOf(fields["address"])} ({textOf(fields["latitude"])},{" "}
          {textOf(fields["longitude"])})
        </p>
      )
    case "BUTTON_GROUP": {
      let buttons: unknown = []
      try {
        buttons = JSON.parse(text)
      } catch {}
      return <Buttons buttons={buttonsOf(buttons)} onTap={onTap} />
    }
    case "CARD": {
      const title = textOf(fields["title"])
      const action = textOf(fields["action"])
      return (
        <div class="card">
          <strong>{title}</strong>
          <p>{textOf(fields["description"])}</p>
          {action !== "" && (
            <button type="button" class="tap" title={action} onClick={() => onTap(title)}>
              {isLink(action) ? "Open" : title}
            </button>
          )}
          <Buttons buttons={buttonsOf(fields["actions"])} onTap={onTap} />
        </div>
      )
    }
    default:
      return (
        <details>
          <summary>{inShort(message)}</summary>
          <pre>{text}</pre>
        </details>
      )
  }
}

const ticks: Readonly<Record<Message["state"], readonly [sign: string, words: string]>> = {
  sent: ["✓", "sent"],
  acknowledged: ["✓✓", "acknowledged by the bot"],
  delivered: ["✓✓", "delivered"],
  read: ["✓✓", "read"]
}

const timeOf = (at: number) => new Date(at).toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit" })

export const Bubble = ({
  actions,
  chat,
  message,
  onTap,
  scene
}: {
  actions: ComponentChildren
  chat: Chat
  message: Message
  onTap: (label: string) => void
  scene: Scene
}) => {
  const { at, from, isGone, quoted, state } = message
  const [sign, words] = ticks[state]
  const quote = quoted === undefined ? undefined : chat.messages.find(({ id }) => id === quoted)
  return (
    <li class={`bubble ${from === undefined ? "theirs" : "ours"}`} data-state={state}>
      <span class="who">{from ?? "bot"}</span>
      {quote !== undefined && <blockquote>{inShort(quote)}</blockquote>}
      {isGone ? <p class="gone">taken back, or disappeared</p> : <Body message={message} onTap={onTap} scene={scene} />}
      <span class="meta">
        {timeOf(at)} <span aria-hidden="true">{sign}</span>
        <span class="hidden">{words}</span> {!isGone && actions}
      </span>
    </li>
  )
}
