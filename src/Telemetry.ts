/**
 * Every metric and span name of the library.
 *
 * Guarantee: nothing is measured, and no span made, whose name does not stand here.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Metric from "effect/Metric"

const counter = (name: string, description: string) => Metric.counter(name, { description, incremental: true })
const gauge = (name: string, description: string) => Metric.gauge(name, { description })
const histogram = (name: string, description: string, boundaries: ReadonlyArray<number>) =>
  Metric.histogram(name, { description, boundaries })

/** Upper bounds in seconds. */
const seconds = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60, 300]

/**
 * The metrics, named as Prometheus wants them; `docs/metrics.md` says how to read them. Each has a label `bot` with the bot's user id.
 *
 * @category metrics
 * @since 0.1.0
 */
export const metrics = {
  connects: counter("blaze_connects_total", "Connections that were asked for, by result"),
  reconnectDelay: histogram(
    "blaze_reconnect_delay_seconds",
    "Waits before a reconnect",
    [0.1, 0.5, 1, 2, 5, 10, 30, 60]
  ),
  clockDifference: gauge("blaze_clock_difference_seconds", "Local time minus server time, when a refusal told it"),
  framesReceived: counter("blaze_frames_received_total", "Frames that arrived"),
  bytesReceived: counter("blaze_received_bytes_total", "Bytes of frames that arrived, compressed"),
  framesSent: counter("blaze_frames_sent_total", "Frames that were sent"),
  bytesSent: counter("blaze_sent_bytes_total", "Bytes of frames that were sent, compressed"),
  badFrames: counter("blaze_bad_frames_total", "Frames that are not Blaze, by what was done: closed or passed_over"),
  messages: counter("blaze_messages_total", "Messages that arrived, by category"),
  refusedPushes: counter("blaze_refused_pushes_total", "Pushes that found no room and were left to the next listing"),
  backlogged: counter("blaze_backlog_total", "Messages that had waited on the server"),
  duplicates: counter("blaze_duplicates_total", "Messages that were known already, by their state"),
  inbox: gauge("blaze_inbox_messages", "Messages that wait for the handlers"),
  open: gauge("blaze_open_messages", "Messages that were handed out and are not settled"),
  dropped: gauge("blaze_dropped_deliveries", "Deliveries that nobody is at work on, while nothing happens to any"),
  oldestOpen: gauge("blaze_oldest_open_seconds", "Time since the oldest unsettled message was handed out"),
  oldestPending: gauge("blaze_oldest_pending_seconds", "Time since the oldest message that waits or runs was written"),
  own: counter(
    "blaze_own_messages_total",
    "The bot's own messages that were pushed to it, acknowledged and passed to nobody"
  ),
  unread: counter("blaze_unread_messages_total", "Messages for which the program has no case, by category"),
  takenBack: counter(
    "blaze_taken_back_messages_total",
    "Messages that their sender took back before they were handled, acknowledged and passed to nobody"
  ),
  givenUp: gauge("blaze_given_up_messages", "Messages that this process has given up; they stay on the server"),
  deferred: gauge("blaze_deferred_messages", "Messages that are put aside to be offered again"),
  handlerTime: histogram("blaze_handler_seconds", "Time of a handler with its retries, by outcome", seconds),
  conflicts: counter(
    "blaze_state_conflicts_total",
    "Handlers that ran again because what they were to write to a state is based on what has changed"
  ),
  handlersRunning: gauge("blaze_handlers_running", "Handlers that run now"),
  oldestHandler: gauge("blaze_oldest_handler_seconds", "Time since the oldest running handler began"),
  acksPending: gauge("blaze_acks_pending", "Acknowledgements that the server has not confirmed"),
  ackBatch: histogram("blaze_ack_batch_size", "Acknowledgements per batch", [1, 2, 5, 10, 20, 50, 80, 100]),
  ackTime: histogram("blaze_ack_seconds", "Time until a batch was confirmed, with its retries", seconds),
  acksDropped: counter("blaze_acks_dropped_total", "Acknowledgements that the server will never take"),
  sends: counter("blaze_sends_total", "Attempts to send a message, by result"),
  sendWaits: counter("blaze_send_waits_total", "Sends that waited for the quota"),
  outbox: gauge("blaze_outbox_messages", "Messages that are stored and not sent yet")
} as const

/**
 * The spans: `connect`, one per handshake, and `acknowledge`, one per batch; `request` and `handle` when `Traced` is set.
 *
 * @category spans
 * @since 0.1.0
 */
export const span = {
  connect: "blaze.connect",
  request: "blaze.request",
  acknowledge: "blaze.acknowledge",
  handle: "blaze.handle"
} as const

/**
 * Whether each request and each handler has a span: a span costs more than all that is done for a message otherwise.
 *
 * @category references
 * @since 0.1.0
 */
export const Traced = Context.Reference<boolean>("effect-blaze/Telemetry/Traced", { defaultValue: () => false })
