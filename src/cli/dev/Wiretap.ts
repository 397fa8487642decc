/**
 * What has travelled between the bot and the server, to be read.
 *
 * Guarantee: it keeps the last few hundred, and of each no more than a few thousand characters.
 *
 * @since 0.1.0
 */
import * as Predicate from "effect/Predicate"
import { gunzipSync } from "node:zlib"
import type * as Overheard from "../../testing/internal/Overheard.ts"
import type * as Scene from "./Scene.ts"

const maximumKept = 300
const maximumBody = 8000
const maximumFrame = 1024 * 1024

const parsed = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const bodyOf = (text: string, value = parsed(text)) => {
  const body = value === undefined ? text : JSON.stringify(value, undefined, 2)
  return body.length > maximumBody ? `${body.slice(0, maximumBody)}\n... ${body.length - maximumBody} more` : body
}

const textOf = (frame: Uint8Array | string) => {
  if (typeof frame === "string") return frame
  try {
    return gunzipSync(frame, { maxOutputLength: maximumFrame }).toString()
  } catch {
    return `${frame.length} bytes that are no gzip of JSON`
  }
}

/** What a frame is: its action, and the kind of what it carries, or what went wrong. */
const titleOf = (text: string, frame: unknown) => {
  if (!Predicate.isReadonlyObject(frame)) return text.slice(0, 80)
  const { action, data, error, params } = frame as Readonly<Record<string, unknown>>
  const inner = Predicate.isReadonlyObject(params) ? params : Predicate.isReadonlyObject(data) ? data : {}
  const { category, status } = inner as Readonly<Record<string, unknown>>
  const failure = Predicate.isReadonlyObject(error) ? `error ${String((error as { code?: unknown }).code)}` : ""
  return [action, category, action === "ACKNOWLEDGE_MESSAGE_RECEIPT" ? status : "", failure]
    .filter((word) => typeof word === "string" && word !== "")
    .join(" ")
}

type Read = Pick<Scene.Travelled, "by" | "title" | "body">

const ofFrame = ({ by, frame }: Extract<Overheard.Heard, { readonly _tag: "Frame" }>): Read => {
  const text = textOf(frame)
  const value = parsed(text)
  return { by, title: titleOf(text, value), body: bodyOf(text, value) }
}

const ofRequest = ({
  answer,
  body,
  method,
  status,
  uri
}: Extract<Overheard.Heard, { readonly _tag: "Request" }>): Read => ({
  by: "rest",
  title: `${method} ${uri.slice(0, 200)} ${status}`,
  body: [body, answer]
    .filter((part) => part !== "")
    .map((part) => bodyOf(part))
    .join("\n\n")
})

/**
 * @category constructors
 * @since 0.1.0
 */
export const make = (now: () => number) => {
  let kept: Array<Scene.Travelled> = []
  let changed: (() => void) | undefined
  let number = 0
  return {
    kept: (): ReadonlyArray<Scene.Travelled> => kept,
    /** Calls whenever something has travelled. */
    listen: (listener: () => void) => {
      changed = listener
    },
    hear: (heard: Overheard.Heard) => {
      const travelled: Scene.Travelled = {
        number: number++,
        at: now(),
        ...(heard._tag === "Frame" ? ofFrame(heard) : ofRequest(heard))
      }
      kept.push(travelled)
      if (kept.length > 2 * maximumKept) kept = kept.slice(-maximumKept)
      changed?.()
    }
  }
}
