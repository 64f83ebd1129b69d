// The peer behind the relay of the bench: node relay-peer.mjs HOST:PORT…, prints {"event":"listening","key":"…"}.
//
// A message `uN` is followed by N bytes, which are answered once they are there; `dN` asks for N bytes; any other comes back.

import DHT from 'hyperdht'

import { parseBootstrap } from '../interop/support/testnet.mjs'

const CHUNK = Buffer.alloc(64 * 1024, 7)

const dht = new DHT({ bootstrap: parseBootstrap(process.argv.slice(2)), host: '127.0.0.1', firewalled: false })
const server = dht.createServer((stream) => {
  stream.on('error', () => {})
  let awaited = 0
  stream.on('data', (data) => {
    if (awaited > 0) {
      awaited -= data.byteLength
      if (awaited <= 0) stream.write(Buffer.from('.'))
    } else if (data[0] === 0x75) {
      awaited = Number(data.subarray(1))
    } else if (data[0] === 0x64) {
      void give(stream, Number(data.subarray(1)))
    } else {
      stream.write(data)
    }
  })
})
await server.listen()
console.log(JSON.stringify({ event: 'listening', key: server.publicKey.toString('hex') }))

async function give (stream, bytes) {
  for (let left = bytes; left > 0 && !stream.destroying; left -= CHUNK.byteLength) {
    const more = stream.write(left >= CHUNK.byteLength ? CHUNK : CHUNK.subarray(0, left))
    if (!more) await new Promise((resolve) => { stream.once('drain', resolve); stream.once('close', resolve) })
  }
}
