/** Roost as a library: the composition without sockets, and the process with them. */
export { type Config, DEFAULT_CONFIG, StartError } from './config.ts'
export { type Running, startRoost } from './io/roost.ts'
export { Server, type ServerInput, type ServerOptions, type ServerOutput } from './server.ts'
