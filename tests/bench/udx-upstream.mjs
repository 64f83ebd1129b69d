// One stream of udx-native, driven like `udx-peer`: JSON lines `{ id, do, … }` in, `{ id, result }` and events out. `--host=ADDRESS` is bound instead of
// loopback.

import { createInterface } from 'node:readline'

import UDX from 'udx-native'

const CHUNK = Buffer.alloc(65_536)

const udx = new UDX()
const socket = udx.createSocket()
const host = process.argv.find((argument) => argument.startsWith('--host='))?.slice(7) ?? '127.0.0.1'
socket.bind(0, host)
const stream = udx.createStream(1 + Math.floor(Math.random() * 1e9))
let received = 0
stream.on('data', (data) => { received += data.byteLength })
stream.on('end', () => say({ event: 'end', stream: stream.id, received }))
stream.on('error', (error) => say({ event: 'error', message: error.message }))

const commands = {
  open: () => ({ port: socket.address().port, stream: stream.id }),
  connect: ({ port, remote, host = '127.0.0.1' }) => { stream.connect(socket, remote, port, host) },
  send: ({ bytes }) => { void send(bytes) }
}
createInterface({ input: process.stdin }).on('line', (line) => {
  const command = JSON.parse(line)
  say({ id: command.id, result: commands[command.do](command) ?? null })
}).on('close', () => process.exit(0))

async function send (bytes) {
  for (let left = bytes; left > 0; left -= CHUNK.byteLength) {
    if (!stream.write(left >= CHUNK.byteLength ? CHUNK : CHUNK.subarray(0, left))) {
      await new Promise((resolve) => stream.once('drain', resolve))
    }
  }
  stream.end()
}

function say (message) {
  console.log(JSON.stringify(message))
}
