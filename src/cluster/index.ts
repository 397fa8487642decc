/**
 * One bot on many machines.
 *
 * @since 0.1.0
 */

/** @since 0.1.0 */
export * as BlazeCluster from "./BlazeCluster.ts"
/** @since 0.1.0 */
export * as NodeBlazeCluster from "./NodeBlazeCluster.ts"
