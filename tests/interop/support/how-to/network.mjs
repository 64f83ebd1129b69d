// Where the programs of the guides meet: on a network of the test, upstream's nodes by themselves and ours through a relay.

import { createInterface } from 'node:readline'

const { BOOTSTRAP, RELAY } = process.env

/** Options of `new Hyperswarm`. */
export const network = RELAY ? { relay: RELAY } : { dht: await node(JSON.parse(BOOTSTRAP)) }

async function node (bootstrap) {
  const { default: DHT } = await import('hyperdht')
  return new DHT({ bootstrap, host: '127.0.0.1', firewalled: false })
}

/** Tells the test something. */
export function say (event, fields = {}) {
  process.stdout.write(JSON.stringify({ event, ...fields }) + '\n')
}

/** What the test types. */
export async function * typed () {
  for await (const line of createInterface({ input: process.stdin })) yield JSON.parse(line)
}
