/**
 * How a dialer tells that a connection has ended, or was never there.
 *
 * Guarantee: an error carries what went wrong, and never the request or its token.
 *
 * @since 0.1.0
 */
import * as Socket from "effect/socket/Socket"

/**
 * It was closed, or has broken off: 1006.
 *
 * @category constructors
 * @since 0.1.0
 */
export const closed = (code: number, closeReason?: string): Socket.SocketError =>
  new Socket.SocketError({ reason: new Socket.SocketCloseError({ code, ...(closeReason ? { closeReason } : {}) }) })

/**
 * It could not be opened; the cause says why.
 *
 * @category constructors
 * @since 0.1.0
 */
export const unopened = (cause: unknown, kind: Socket.SocketOpenError["kind"] = "Unknown"): Socket.SocketError =>
  new Socket.SocketError({ reason: new Socket.SocketOpenError({ kind, cause }) })
