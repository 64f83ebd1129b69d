// What of Node's Buffer programs use by its name: `b4a` has it over Uint8Array.

export { default as Buffer } from 'b4a'
