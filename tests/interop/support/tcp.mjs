// Replication over plain TCP on loopback.

import { once } from 'node:events'
import net from 'node:net'

import { defer } from './cleanup.mjs'

/**
 * Serves a core over TCP until the test ends.
 *
 * @returns {Promise<number>} the port on 127.0.0.1
 */
export async function listen (t, core) {
  return await serve(t, (socket) => { join(socket, core.replicate(false, { keepAlive: false })) })
}

/**
 * Replicates a core as the side that dials.
 *
 * @returns {Promise<{ socket: net.Socket, stream: object, closed: Promise<Error | null> }>}
 *   `closed` resolves to the error that ended the encrypted stream, or null
 */
export async function connect (t, core, port) {
  const socket = net.connect(port, '127.0.0.1')
  defer(t, () => socket.destroy())
  await once(socket, 'connect')
  const stream = core.replicate(true, { keepAlive: false })
  const closed = new Promise((resolve) => {
    stream.once('error', resolve)
    stream.once('close', () => resolve(null))
  })
  join(socket, stream)
  return { socket, stream, closed }
}

/** Listens on a free port of 127.0.0.1 until the test ends, and returns the port. */
export async function serve (t, onSocket) {
  const sockets = new Set()
  const server = net.createServer((socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    onSocket(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  defer(t, () => new Promise((resolve) => {
    server.close(resolve)
    for (const socket of sockets) socket.destroy()
  }))
  return server.address().port
}

// Errors of either end close both; the tests look at `closed` and at the cores.
function join (socket, stream) {
  socket.on('error', () => stream.destroy())
  stream.on('error', () => socket.destroy())
  socket.pipe(stream).pipe(socket)
}
