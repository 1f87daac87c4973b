/** Roost as a library: the composition without sockets, and the process with them. */
export { type Config, DEFAULT_CONFIG, StartError } from './config.ts'
export { type EmbeddedLog, startRoost } from './io/embed.ts'
export type { Running } from './io/roost.ts'
export { Server, type ServerInput, type ServerOptions, type ServerOutput } from './server.ts'
