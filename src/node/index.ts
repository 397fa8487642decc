/**
 * The half of effect-blaze that needs Node.
 *
 * @since 0.1.0
 */
export * as BufferBase64 from "./BufferBase64.ts"
export * as NodeBlaze from "./NodeBlaze.ts"
export * as NodeSqlite from "./NodeSqlite.ts"
export * as SynchronousCryptography from "./SynchronousCryptography.ts"
export * as WebSocketDialer from "./WebSocketDialer.ts"
export * as ZlibGzip from "./ZlibGzip.ts"
