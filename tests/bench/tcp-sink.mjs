// Reads all that comes on a TCP port of the address that it is given. Prints { event: "listening", port }.

import { createServer } from 'node:net'

const server = createServer((socket) => { socket.on('error', () => {}).resume() })
server.listen(0, process.argv[2], () => console.log(JSON.stringify({ event: 'listening', port: /** @type {import('node:net').AddressInfo} */ (server.address()).port })))
process.stdin.on('end', () => process.exit(0)).resume()
