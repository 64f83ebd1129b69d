// A store of upstream's that pages reach over a WebSocket, without a relay between.

import { once } from 'node:events'

import { createWebSocketStream, WebSocketServer } from 'ws'

import { defer } from '../../interop/support/cleanup.mjs'

/** Replicates a store with whoever opens the address that is returned. */
export async function serveStore (t, store) {
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0 })
  await once(server, 'listening')
  server.on('connection', (socket) => {
    const carrier = createWebSocketStream(socket)
    const stream = store.replicate(false)
    for (const end of [carrier, stream]) end.on('error', () => {})
    stream.pipe(carrier).pipe(stream)
  })
  defer(t, async () => {
    for (const client of server.clients) client.terminate()
    await new Promise((resolve) => server.close(resolve))
  })
  return `ws://127.0.0.1:${server.address().port}`
}
