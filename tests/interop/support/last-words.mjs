// A peer of upstream's that says something to whoever speaks to it, and breaks the stream off: node last-words.mjs HOST:PORT...

import DHT from 'hyperdht'

import { parseBootstrap } from './testnet.mjs'

const node = new DHT({ bootstrap: parseBootstrap(process.argv.slice(2)), host: '127.0.0.1', firewalled: false })
const server = node.createServer((stream) => {
  stream.on('error', () => {})
  stream.once('data', async () => {
    stream.write('last words')
    await stream.flush()
    stream.destroy()
  })
})
await server.listen()
console.log(JSON.stringify({ event: 'listening', key: server.publicKey.toString('hex') }))
