// A core of upstream's with blocks of 64 KiB, behind WebSockets.

import { once } from 'node:events'

import UpstreamHypercore from 'hypercore'
import { WebSocketServer } from 'ws'

import { blocks } from './workloads.mjs'

const COUNT = 1000
const SIZE = 65536

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

/** Starts serving; `remote` says what there is to read. */
export async function serveCore (folder) {
  const core = new UpstreamHypercore(folder)
  await core.ready()
  for (let i = 0; i < COUNT; i += 50) await core.append(blocks(i, 50, SIZE).map((block) => Buffer.from(block.buffer)))
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1', perMessageDeflate: false })
  server.on('connection', (socket, { url }) => {
    if (url === '/bare') return sendAll(socket)
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
  return {
    url: `ws://127.0.0.1:${server.address().port}`,
    remote: { key: core.id, length: COUNT, size: SIZE },
    async close () {
      for (const socket of server.clients) socket.terminate()
      server.close()
      await core.close()
    }
  }
}
