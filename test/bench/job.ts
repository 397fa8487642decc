// What the runner, the load server and the clients tell each other over IPC.

/** What a client has to do. */
export type Work = "receive" | "send" | "echo" | "idle" | "discard"

/** The way acknowledgements travel. */
export type Acks = "rest" | "socket"

/** One client's task, in the argument of its process. */
export interface Job {
  readonly client: string
  readonly work: Work
  readonly acks: Acks
  readonly count: number
  readonly inFlight: number
  readonly url: string
  readonly apiUrl: string
  readonly keystore: { readonly app_id: string; readonly session_id: string; readonly session_private_key: string }
}

/** What the server serves from here on, until told otherwise. */
export interface Load {
  readonly work: Work
  readonly count: number
  readonly conversations: number
  /** About how many bytes of JSON one pushed frame holds. */
  readonly size: number
  /** Pushes in a second; as fast as the client reads when it is 0. */
  readonly rate: number
  /** Pushes at the beginning whose latency does not count. */
  readonly warmUp: number
}

export interface Listening {
  readonly _tag: "Listening"
  readonly url: string
  readonly apiUrl: string
}

/** The server has seen the whole of the work done. Times are milliseconds. */
export interface Finished {
  readonly _tag: "Finished"
  /** From the request for the pending messages (or the first message sent) to the last acknowledgement (or message). */
  readonly wall: number
  /** Processor time of the server in that span. */
  readonly serverCpu: number
  /** From the push of a message to the arrival of its answer, sorted. */
  readonly latencies: ReadonlyArray<number>
  /** The length of the texts that came back as answers. */
  readonly echoed: number
}

/** The frames are ready. */
export interface Loaded {
  readonly _tag: "Loaded"
  /** The length of all texts that are served. */
  readonly characters: number
}

export type FromServer = Listening | Loaded | Finished

export type ToServer = { readonly _tag: "Load"; readonly load: Load } | { readonly _tag: "Begin" }

/** `Go` begins the work and starts the clock of the processor time, `Mark` starts it anew, `Report` reads it. */
export type ToClient = { readonly _tag: "Go" } | { readonly _tag: "Mark" } | { readonly _tag: "Report" }

export type FromClient =
  | { readonly _tag: "Ready" }
  /** It has done its part: every message is sent and answered. */
  | { readonly _tag: "Done" }
  | {
      readonly _tag: "Usage"
      /** Milliseconds of processor time, user and system. */
      readonly cpu: number
      /** The largest resident size in MiB. */
      readonly memory: number
      /** Bytes of heap, after a collection when the process can ask for one. */
      readonly heap: number
      /** The length of all texts that it has read. */
      readonly characters: number
    }

let characters = 0

/** What a client does with each text that it receives: who leaves out the decoding comes to another sum than the server. */
export const read = (text: string) => {
  characters += text.length
}

/**
 * Runs a client's program: loaded first, begun at `Go`, measured at `Report`. The program gives a promise when it knows by itself
 * that its work is done.
 */
export const serve = (prepare: (job: Job) => Promise<() => Promise<void> | void>) => {
  const job = JSON.parse(process.argv[2] ?? "") as Job
  const tell = (message: FromClient) => process.send?.(message)
  // A runner that dies takes its clients with it.
  process.on("disconnect", () => process.exit())
  void prepare(job).then((begin) => {
    let start = process.cpuUsage()
    const report = async () => {
      const { system, user } = process.cpuUsage(start)
      const { maxRSS } = process.resourceUsage()
      // What a finalizer has let go of is taken by the next collection.
      for (let turn = 0; turn < 3; turn++) {
        globalThis.gc?.()
        await new Promise((resolve) => setImmediate(resolve))
      }
      const heap = process.memoryUsage().heapUsed
      tell({ _tag: "Usage", cpu: (user + system) / 1000, memory: maxRSS / 1024, heap, characters })
    }
    process.on("message", (message: ToClient) => {
      if (message._tag === "Go") {
        start = process.cpuUsage()
        void Promise.resolve(begin()).then(() => tell({ _tag: "Done" }))
      } else if (message._tag === "Mark") start = process.cpuUsage()
      else void report()
    })
    tell({ _tag: "Ready" })
  })
}
