// Upstream's peer, or our package's by way of a relay, in a network of its own: JSON lines as `dht-node` speaks them.
//
// The first line is {"do": "start", "kind": "upstream" | "tab", "bootstrap": ["HOST:PORT"], "host", "relay"}.

import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'

import blindRelay from 'blind-relay'
import UpstreamDHT from 'hyperdht'
import { DHT as TabDHT } from 'hypertab'

import { parseBootstrap } from './testnet.mjs'

/** How long a connection may take, with all the ports of a random network to try. */
const PATIENCE_MS = 90_000

/** How long a relay is kept after a stream has left it, and a little more. */
const RELAY_LINGER_MS = 7_000

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
const next = async () => {
  const { value, done } = await lines.next()
  return done ? null : JSON.parse(value)
}
const say = (message) => process.stdout.write(JSON.stringify(message) + '\n')

const start = await next()
const dht = start.kind === 'tab' ? await startTab(start) : await startUpstream(start)
say({ id: start.id, result: { firewalled: dht.firewalled ?? null } })

const commands = {
  async listen ({ seed, relayThrough }) {
    const server = dht.createServer({ ...through(relayThrough), shareLocalAddress: false }, (stream) => {
      stream.on('error', () => {})
      stream.pipe(stream)
    })
    await server.listen(UpstreamDHT.keyPair(Buffer.from(seed, 'hex')))
    return { publicKey: server.publicKey.toString('hex') }
  },

  /**
   * Dials, sends so many bytes, and wants them back; with `leaves`, again once the stream has left the relay of that host,
   * and the relay knows it no longer.
   */
  async connect ({ key, seed, bytes, relayThrough, leaves }) {
    const keyPair = UpstreamDHT.keyPair(Buffer.from(seed, 'hex'))
    const stream = dht.connect(Buffer.from(key, 'hex'), { keyPair, ...through(relayThrough), localConnection: false })
    let received = await echo(stream, bytes)
    if (leaves) {
      for (const started = Date.now(); stream.rawStream.remoteHost === leaves; await sleep(100)) {
        if (Date.now() - started > PATIENCE_MS) throw new Error(`still goes to ${leaves}`)
      }
      await sleep(RELAY_LINGER_MS)
      received += await echo(stream, bytes)
    }
    const remote = stream.rawStream?.remoteHost ?? null
    stream.destroy()
    return { received, remote }
  },

  /** Is a blind relay for others. */
  async serveBlindRelay ({ seed }) {
    const relay = new blindRelay.Server({ createStream: (options) => dht.createRawStream({ ...options, framed: true }) })
    const server = dht.createServer({ shareLocalAddress: false }, (stream) => {
      stream.on('error', () => {})
      relay.accept(stream, { id: stream.remotePublicKey }).on('error', () => {})
    })
    await server.listen(UpstreamDHT.keyPair(Buffer.from(seed, 'hex')))
    return { publicKey: server.publicKey.toString('hex') }
  }
}

for (let command = await next(); command; command = await next()) {
  const { id, do: name } = command
  commands[name](command).then((result) => say({ id, result }), (error) => say({ id, error: `${error.code ?? ''} ${error.message}` }))
}
process.exit(0)

async function echo (stream, bytes) {
  const sent = Buffer.alloc(bytes, 7)
  let received = 0
  let take
  const done = new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${received} bytes after ${PATIENCE_MS} ms`)), PATIENCE_MS)
    stream.on('error', reject)
    stream.on('close', () => reject(new Error(`closed after ${received} bytes`)))
    take = (data) => {
      received += data.byteLength
      if (received < bytes) return
      clearTimeout(timer)
      resolve()
    }
    stream.on('data', take)
  })
  for (let at = 0; at < bytes; at += 16_384) stream.write(sent.subarray(at, at + 16_384))
  await done
  stream.off('data', take)
  return received
}

function through (relayThrough) {
  return relayThrough ? { relayThrough: Buffer.from(relayThrough, 'hex') } : {}
}

async function startTab ({ relay }) {
  const dht = new TabDHT({ relay })
  await dht.ready()
  return dht
}

async function startUpstream ({ bootstrap, host, firewalled }) {
  const dht = new UpstreamDHT({ bootstrap: parseBootstrap(bootstrap), host, ...(firewalled === false ? { firewalled } : {}) })
  await dht.fullyBootstrapped()
  return dht
}
