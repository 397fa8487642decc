/**
 * The built-in Blaze server: in memory for tests under TestClock and for simulations, and on loopback for everything else.
 *
 * @since 0.1.0
 */
export * as BlazeServer from "./BlazeServer.ts"
export * as BlazeTest from "./BlazeTest.ts"
export * as Expectation from "./Expectation.ts"
export * as LocalServer from "./LocalServer.ts"
export * as Plan from "./Plan.ts"
export * as Simulation from "./Simulation.ts"
