// Node's emitter, for what asks for the one that works everywhere.

export { EventEmitter } from 'node:events'
