// What both clients' programs have in common: each runs its client's operations one after the other and tells of each what came of it.

/** What a program tells the test: each of its operations by name, and what was wrong with it if something was. */
export interface Report {
  readonly operation: string
  readonly problem?: string
}

/** Whom and what the operations are about. */
export interface World {
  readonly keystore: Record<string, string>
  readonly apiUrl: string
  readonly alice: string
  readonly bob: string
  readonly aliceNumber: string
  /** The conversation with alice. */
  readonly contact: string
  /** A message of hers that waits for an acknowledgement, for each of the operations that acknowledge. */
  readonly pending: readonly [string, string]
}

export const world = (): World => JSON.parse(process.env["INTEROP_WORLD"] ?? "{}") as World

// A test that dies takes the program with it.
process.on("disconnect", () => process.exit())

const tell = (report: Report) =>
  new Promise<void>((resolve) => {
    process.send?.(report, () => resolve())
  })

const problemOf = (error: unknown): string => {
  const { code, description, message } = error as { code?: number; description?: string; message?: string }
  return [code, description ?? message ?? String(error)].filter((part) => part !== undefined).join(" ")
}

/** Fails unless it holds. */
export const expect = (holds: boolean, what: unknown): void => {
  if (!holds) throw new Error(`unexpected: ${JSON.stringify(what)}`)
}

/** Runs the operations in their order, whatever becomes of one. */
export const run = async (operations: Readonly<Record<string, () => Promise<unknown>>>): Promise<void> => {
  for (const [operation, perform] of Object.entries(operations)) {
    try {
      const answer = await perform()
      // One of the clients gives an error as if it were an answer.
      const { code, description } = (answer ?? {}) as { code?: unknown; description?: unknown }
      if (code !== undefined && description !== undefined) throw answer
      await tell({ operation })
    } catch (error) {
      await tell({ operation, problem: problemOf(error) })
    }
  }
  process.disconnect()
}

/** Payloads of every kind that the clients can send, as their types have them. */
export const payloads = {
  sticker: { sticker_id: "5d1ec9b4-1b9e-4b2c-8b80-0f2a4c7de801", name: "", album_id: "" },
  image: {
    attachment_id: "9d7dd2a2-7b11-4e1e-8f07-6a0f4f0f0a01",
    mime_type: "image/png",
    width: 1,
    height: 1,
    size: 68,
    thumbnail: ""
  },
  audio: { attachment_id: "9d7dd2a2-7b11-4e1e-8f07-6a0f4f0f0a01", mime_type: "audio/ogg", size: 9, duration: 1 },
  video: {
    attachment_id: "9d7dd2a2-7b11-4e1e-8f07-6a0f4f0f0a01",
    mime_type: "video/mp4",
    width: 1,
    height: 1,
    size: 9,
    duration: 1,
    thumbnail: ""
  },
  file: { attachment_id: "9d7dd2a2-7b11-4e1e-8f07-6a0f4f0f0a01", mime_type: "text/plain", size: 9, name: "a.txt" },
  live: { width: 1, height: 1, thumb_url: "https://example.com/a.png", url: "https://example.com/a.m3u8" },
  location: { longitude: 139.7, latitude: 35.6, name: "Tokyo", address: "Tokyo" },
  card: {
    app_id: "",
    icon_url: "https://example.com/a.png",
    title: "A card",
    description: "of a bot",
    action: "https://example.com"
  },
  buttons: [{ label: "Say it", action: "input:it", color: "#1DA1F2" }]
}
