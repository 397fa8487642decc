// What is behind the conversations: what travels, how the bot is, what can be made to go wrong.
import { useState } from "preact/hooks"
import type { Action, Scene } from "../src/cli/dev/Scene.ts"

type Do = (action: Action) => Promise<unknown>

const clockOf = (at: number) => new Date(at).toISOString().slice(11, 23)

const arrows = { bot: "→ server", server: "→ bot", rest: "REST" } as const

const Wire = ({ wire }: { wire: Scene["wire"] }) => {
  const [filter, setFilter] = useState("")
  const [isPaused, setPaused] = useState<Scene["wire"]>()
  const shown = (isPaused ?? wire).filter(
    ({ body, by, title }) =>
      filter === "" || `${arrows[by]} ${title} ${body}`.toLowerCase().includes(filter.toLowerCase())
  )
  return (
    <div class="wire">
      <div class="row">
        <label>
          Filter: <input type="search" value={filter} onInput={({ currentTarget }) => setFilter(currentTarget.value)} />
        </label>
        <button type="button" onClick={() => setPaused(isPaused === undefined ? wire : undefined)}>
          {isPaused === undefined ? "Hold still" : "Go on"}
        </button>
        <span>
          {shown.length} of the last {wire.length}
        </span>
      </div>
      <ol tabIndex={0} aria-label="What has travelled, the newest first">
        {shown.toReversed().map(({ at, body, by, number, title }) => (
          <li key={number}>
            <details>
              <summary>
                <span class="time">{clockOf(at)}</span> <span class={`by ${by}`}>{arrows[by]}</span> {title}
              </summary>
              <pre>{body}</pre>
            </details>
          </li>
        ))}
      </ol>
    </div>
  )
}

const metricOf = ({ bot: { metrics } }: Scene, wanted: string) =>
  metrics.find(({ name }) => name === wanted)?.value ?? "0"

const Bot = ({ act, scene }: { act: Do; scene: Scene }) => {
  const { acknowledged, connections, handshakes, pending, runs, sent } = scene.bot
  const facts: ReadonlyArray<readonly [string, string | number]> = [
    ["open connections", connections],
    ["handshakes", handshakes],
    ["begun", `${runs} times`],
    ["messages it has sent", sent],
    ["acknowledged", acknowledged],
    ["waiting for an acknowledgement", pending.length],
    ["in a handler", metricOf(scene, "blaze_handlers_running")],
    ["put aside, to be offered again", metricOf(scene, "blaze_deferred_messages")],
    ["given up", metricOf(scene, "blaze_given_up_messages")]
  ]
  return (
    <div class="bot">
      <dl>
        {facts.map(([name, value]) => (
          <div>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      <button type="button" onClick={() => void act({ _tag: "Restart" })}>
        Begin it again
      </button>
      <details>
        <summary>Metrics, as the bot tells them</summary>
        <table>
          <tbody>
            {scene.bot.metrics.map(({ description, labels, name, value }) => (
              <tr key={`${name} ${labels}`}>
                <th scope="row">
                  {name} <span class="labels">{labels}</span>
                </th>
                <td>{value}</td>
                <td>{description}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </details>
      <h3>What it says</h3>
      <pre tabIndex={0} aria-label="Output of the bot">
        {scene.output.join("\n")}
      </pre>
    </div>
  )
}

const Tick = ({ isOn, label, onChange }: { isOn: boolean; label: string; onChange: (isOn: boolean) => void }) => (
  <label>
    <input type="checkbox" checked={isOn} onChange={({ currentTarget }) => onChange(currentTarget.checked)} /> {label}
  </label>
)

const faults: ReadonlyArray<readonly [label: string, fault: Extract<Action, { _tag: "Fault" }>["fault"]]> = [
  ["Cut the connection", "cut"],
  ["Let it carry nothing any more", "half open"],
  ["Refuse the next handshake", "refuse the next handshake"],
  ["Drop the next connection", "drop the next connection"],
  ["Fail the next REST request", "fail the next REST request"],
  ["Answer the next request after 5 seconds", "answer the next request late"],
  ["Do not answer the next request", "do not answer the next request"],
  ["Push the next message twice", "push the next message twice"],
  ["Push the next message damaged", "push the next message damaged"],
  ["Set the server's clock an hour ahead", "clock an hour ahead"],
  ["Heal all of it", "heal"]
]

const Faults = ({ act, scene }: { act: Do; scene: Scene }) => (
  <div class="faults">
    <div class="row">
      {faults.map(([label, fault]) => (
        <button type="button" onClick={() => void act({ _tag: "Fault", fault })}>
          {label}
        </button>
      ))}
    </div>
    {scene.faults.length > 0 && <p>Asked for: {scene.faults.join(", ")}.</p>}
    <h3>People</h3>
    <ul>
      {scene.people.map(({ isBlocking, isOff, name }) => (
        <li class="row">
          <span>{name}</span>
          <Tick
            isOn={isBlocking}
            label="blocks the bot"
            onChange={(isOn) => void act({ _tag: "Switch", person: name, what: "block", isOn })}
          />
          <Tick
            isOn={isOff}
            label="phone is off"
            onChange={(isOn) => void act({ _tag: "Switch", person: name, what: "phone", isOn: !isOn })}
          />
        </li>
      ))}
    </ul>
    <h3>Mixin</h3>
    <p class="row">
      <Tick
        isOn={scene.mentionsOnly}
        label="in groups the bot gets only what mentions or quotes it"
        onChange={(isOn) => void act({ _tag: "Rule", mentionsOnly: isOn })}
      />
      <Tick
        isOn={scene.isEncrypted}
        label="people's messages come encrypted"
        onChange={(isOn) => void act({ _tag: "Encryption", isOn })}
      />
    </p>
  </div>
)

const tabs = ["Wire", "Bot", "Faults"] as const

export const Panel = ({ act, scene }: { act: Do; scene: Scene }) => {
  const [tab, setTab] = useState<(typeof tabs)[number]>("Wire")
  return (
    <section class="panel" aria-label="Behind the conversations">
      <div role="tablist" aria-label="What to look at" class="row">
        {tabs.map((name) => (
          <button
            type="button"
            role="tab"
            id={`tab-${name}`}
            aria-selected={tab === name}
            aria-controls="panel"
            onClick={() => setTab(name)}
          >
            {name}
          </button>
        ))}
      </div>
      <div role="tabpanel" id="panel" aria-labelledby={`tab-${tab}`}>
        {tab === "Wire" && <Wire wire={scene.wire} />}
        {tab === "Bot" && <Bot act={act} scene={scene} />}
        {tab === "Faults" && <Faults act={act} scene={scene} />}
      </div>
    </section>
  )
}
