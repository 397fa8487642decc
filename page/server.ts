// What the page asks of the server behind it.
import { useEffect, useState } from "preact/hooks"
import type { Action, Scene } from "../src/cli/dev/Scene.ts"

/** Does something; fails with a sentence that says why not. */
export const act = async (action: Action): Promise<unknown> => {
  const response = await fetch("./action", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(action)
  })
  const answer: unknown = await response.json().catch(() => null)
  if (response.ok) return answer
  const problem = (answer as { problem?: unknown } | null)?.problem
  throw new Error(typeof problem === "string" ? problem : "The server does not answer.")
}

/** What is to be shown, as it is now. */
export const useScene = (): { readonly scene: Scene | undefined; readonly isThere: boolean } => {
  const [scene, setScene] = useState<Scene>()
  const [isThere, setThere] = useState(true)
  useEffect(() => {
    const source = new EventSource("./events")
    source.addEventListener("message", ({ data }) => {
      setScene(JSON.parse(data as string) as Scene)
      setThere(true)
    })
    source.addEventListener("error", () => setThere(false))
    return () => source.close()
  }, [])
  return { scene, isThere }
}
