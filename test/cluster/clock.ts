/** The time in milliseconds, the same for all processes of this machine. */
export const now = () => Number(process.hrtime.bigint() / 1_000_000n)
