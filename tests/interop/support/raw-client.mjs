// A client of the relay that sends whatever it is told, frame by frame.

import { once } from 'node:events'

import WebSocket from 'ws'

import { defer } from './cleanup.mjs'

/** Connects to a relay; the socket ends with the test. */
export async function openSocket (t, url) {
  const socket = new WebSocket(url)
  socket.on('error', () => {})
  defer(t, () => socket.terminate())
  await once(socket, 'open')
  return socket
}

/** Sends frames that are written in hex. */
export function send (socket, ...frames) {
  for (const frame of frames) socket.send(Buffer.from(frame, 'hex'))
}

/** Four bytes of a number, the lowest first, in hex. */
export function u32 (number) {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(number)
  return bytes.toString('hex')
}
