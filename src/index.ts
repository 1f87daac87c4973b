/** Roost as a library: `Server` without sockets, and the whole process with them. */
export { StartError } from './base/start-error.ts'
export { type Config, DEFAULT_CONFIG } from './config/config.ts'
export { type EmbeddedLog, startRoost } from './process/embed.ts'
export type { Running } from './process/roost.ts'
export { Server, type ServerInput, type ServerOptions, type ServerOutput } from './server.ts'
