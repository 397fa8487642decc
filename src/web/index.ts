/**
 * What runs where the web's standards are: Bun, Deno, workers.
 *
 * @since 0.1.0
 */
export * as WebBlaze from "./WebBlaze.ts"
export * as WebDialer from "./WebDialer.ts"
