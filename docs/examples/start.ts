// npm start. Ctrl-C ends it with 0 from the first moment on; the rest takes a while to load.
const leave = () => process.exit(0)
process.on("SIGINT", leave)
await import("./demo.ts")
process.off("SIGINT", leave)
