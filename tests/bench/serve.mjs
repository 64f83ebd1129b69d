// Cores of upstream's behind WebSockets: one with blocks of 64 KiB, and one with blocks of 1 KiB.

import { once } from 'node:events'

import UpstreamHypercore from 'hypercore'
import { WebSocketServer } from 'ws'

import { blocks } from './workloads.mjs'

const COUNT = 1000
const SIZE = 65536
const SMALL = { count: 20000, size: 1024 }

/** Bytes that may wait in a socket before its stream is paused. */
const HIGH_WATER = 4 << 20

// As many bytes as the core has, in messages that nobody made and nobody reads.
function sendAll (socket) {
  const message = Buffer.alloc(SIZE, 7)
  let left = COUNT
  const sendSome = () => {
    for (; left > 0 && socket.bufferedAmount < HIGH_WATER; left--) socket.send(message, sendSome)
  }
  socket.on('error', () => {})
  sendSome()
}

async function makeCore (folder, count, size, batch) {
  const core = new UpstreamHypercore(folder)
  await core.ready()
  for (let i = 0; i < count; i += batch) await core.append(blocks(i, batch, size).map((block) => Buffer.from(block.buffer)))
  return core
}

/** Starts serving; `remote` and `small` say what there is to read. */
export async function serveCore (folder) {
  const large = await makeCore(folder, COUNT, SIZE, 50)
  const small = await makeCore(`${folder}-small`, SMALL.count, SMALL.size, 1000)
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1', perMessageDeflate: false })
  server.on('connection', (socket, { url }) => {
    if (url === '/bare') return sendAll(socket)
    const core = url === '/small' ? small : large
    const stream = core.replicate(false, { keepAlive: false })
    stream.on('error', () => {})
    stream.on('data', (bytes) => {
      socket.send(bytes, () => { if (socket.bufferedAmount < HIGH_WATER) stream.resume() })
      if (socket.bufferedAmount >= HIGH_WATER) stream.pause()
    })
    socket.on('error', () => {})
    socket.on('message', (bytes) => stream.write(bytes))
    socket.on('close', () => stream.destroy())
  })
  await once(server, 'listening')
  const url = `ws://127.0.0.1:${/** @type {import('node:net').AddressInfo} */ (server.address()).port}`
  return {
    url,
    remote: { url, key: large.id, length: COUNT, size: SIZE },
    small: { url: `${url}/small`, key: small.id, length: SMALL.count, size: SMALL.size },
    async close () {
      for (const socket of server.clients) socket.terminate()
      server.close()
      await Promise.all([large.close(), small.close()])
    }
  }
}
