// Our DHT peer as a child process, and upstream's on the same network.

import DHT from 'hyperdht'

import { nativeProgram } from '../../../scripts/lib/cargo.mjs'
import { defer } from './cleanup.mjs'
import { startProcess } from './process.mjs'
import { parseBootstrap } from './testnet.mjs'

/**
 * Starts `dht-node`, which bootstraps.
 *
 * @param {import('node:test').TestContext} t
 * @param {{ bootstrap?: string[], bootstrapper?: boolean, persistent?: boolean, firewalled?: boolean }} options
 */
export async function startNode (t, options = {}) {
  const child = startProcess(t, await nativeProgram('dht-node'))
  child.info = await child.ask('start', options)
  if (!options.bootstrapper) await child.next('bootstrapped')
  return child
}

/** Starts an upstream peer; `firewalled` keeps it from finding out that it is reachable. */
export async function startUpstream (t, bootstrap, { firewalled = false, ...options } = {}) {
  const dht = new DHT({ bootstrap: parseBootstrap(bootstrap), host: '127.0.0.1', firewalled, quickFirewall: !firewalled, ...options })
  defer(t, () => dht.destroy({ force: true }))
  await dht.fullyBootstrapped()
  return dht
}

/** Has an upstream peer return whatever it receives. */
export async function startEcho (t, dht, keyPair) {
  const server = dht.createServer((socket) => {
    socket.on('data', (data) => socket.write(data))
    socket.on('end', () => socket.end())
    socket.on('error', () => {})
  })
  await server.listen(keyPair)
  defer(t, () => server.close())
  return server
}

/** Sends bytes through an upstream connection and resolves to what comes back. */
export async function echo (socket, bytes) {
  const parts = []
  let received = 0
  const done = new Promise((resolve, reject) => {
    socket.on('error', reject)
    socket.on('close', () => reject(new Error(`closed after ${received} bytes`)))
    socket.on('data', (data) => {
      parts.push(data)
      received += data.byteLength
      if (received >= bytes.byteLength) resolve(Buffer.concat(parts))
    })
  })
  for (let offset = 0; offset < bytes.byteLength; offset += 65536) socket.write(bytes.subarray(offset, offset + 65536))
  const result = await done
  socket.end()
  return result
}

/** Waits until an upstream peer has no stream left, so that ending our process leaves nothing to time out. */
export async function idle (dht) {
  for (let waited = 0; dht.rawStreams.size > 0; waited += 10) {
    if (waited > 10_000) throw new Error(`${dht.rawStreams.size} streams stay open`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}
