// A core of upstream's with blocks of 64 KiB, behind WebSockets.

import { once } from 'node:events'

import UpstreamHypercore from 'hypercore'
import { WebSocketServer } from 'ws'

import { blocks } from './workloads.mjs'

const COUNT = 500
const SIZE = 65536

/** Bytes that may wait in a socket before its stream is paused. */
const HIGH_WATER = 4 << 20

/** Starts serving; `remote` says what there is to read. */
export async function serveCore (folder) {
  const core = new UpstreamHypercore(folder)
  await core.ready()
  for (let i = 0; i < COUNT; i += 50) await core.append(blocks(i, 50, SIZE).map((block) => Buffer.from(block.buffer)))
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1', perMessageDeflate: false })
  server.on('connection', (socket) => {
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
