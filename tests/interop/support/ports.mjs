// Ports for servers that have to be told one.

import { once } from 'node:events'
import { createServer } from 'node:net'

/** Returns a TCP port of loopback that nobody listens on. */
export async function freePort () {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address()
  await new Promise((resolve) => server.close(resolve))
  return port
}
