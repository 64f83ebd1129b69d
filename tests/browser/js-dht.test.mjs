// A node of the DHT in a page, behind the relay: values, searches, and connections that one end has ended. The engine is in the page,
// or in a worker.

import assert from 'node:assert/strict'
import test from 'node:test'

import DHT from 'hyperdht'

import { defer } from '../interop/support/cleanup.mjs'
import { startRelay } from '../interop/support/relay.mjs'
import { parseBootstrap, startTestnet } from '../interop/support/testnet.mjs'
import { openPage, servePackage, startBrowser } from './support/browser.mjs'

test('a page stores and finds values, and reads on after it has ended', async (t) => {
  const { bootstrap } = await startTestnet(t)
  const { url: relay } = await startRelay(t, { bootstrap, args: ['--allow-private'] })
  const native = new DHT({ bootstrap: parseBootstrap(bootstrap), host: '127.0.0.1', firewalled: false })
  defer(t, () => native.destroy({ force: true }))
  const keyPair = DHT.keyPair()
  await native.mutablePut(keyPair, Buffer.from('from Node'), { seq: 3 })
  const server = native.createServer((stream) => {
    stream.on('error', () => {})
    let size = 0
    stream.on('data', (data) => { size += data.byteLength })
    stream.on('end', () => {
      for (let i = 0; i < 20; i++) stream.write(Buffer.alloc(10_000, i))
      stream.end(`${size} bytes`)
    })
  })
  await server.listen()
  const { url } = await servePackage(t)
  const context = await startBrowser(t)

  for (const entry of ['index', 'worker']) {
    await t.test(entry === 'index' ? 'with the engine in the page' : 'with the engine in a worker', async () => {
      const { page, problems } = await openPage(context, url)
      const found = await page.evaluate(async ({ entry, relay, owner, peer }) => {
        const { DHT, ready } = await import(`/hypertab/browser/${entry}.js`)
        await ready()
        const bytes = (hex) => Uint8Array.from(hex.match(/../g), (byte) => parseInt(byte, 16))
        const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
        const text = (bytes) => new TextDecoder().decode(bytes)
        const dht = new DHT({ relay, webrtc: false })
        const value = new TextEncoder().encode(`from a page (${entry})`)
        const { hash, closestNodes } = await dht.immutablePut(value)
        const pair = DHT.keyPair()
        await dht.mutablePut(pair, value, { seq: 1 })
        const theirs = await dht.mutableGet(bytes(owner))
        const own = await dht.immutableGet(hash)
        const nodes = new Set()
        for await (const { from, peer: { publicKey } } of dht.findPeer(bytes(peer))) nodes.add(`${from.host} ${hex(publicKey)}`)
        const nothing = await dht.mutableGet(DHT.keyPair().publicKey)
        const call = dht.connect(bytes(peer))
        call.write(new Uint8Array(1000))
        call.end(new Uint8Array(234))
        let size = 0
        let last
        for await (const data of call) {
          size += data.byteLength
          last = data
        }
        await new Promise((resolve) => { call.destroyed ? resolve() : call.on('close', resolve) })
        await dht.destroy()
        return {
          hash: hex(hash), nodes: closestNodes.length, key: hex(pair.publicKey), theirs: [text(theirs.value), theirs.seq], own: text(own.value),
          peers: [...nodes], nothing, size, last: text(last)
        }
      }, { entry, relay, owner: keyPair.publicKey.toString('hex'), peer: server.publicKey.toString('hex') })

      const text = `from a page (${entry})`
      assert.equal((await native.immutableGet(Buffer.from(found.hash, 'hex'))).value.toString(), text)
      assert.equal((await native.mutableGet(Buffer.from(found.key, 'hex'))).value.toString(), text)
      assert.ok(found.nodes > 0)
      assert.deepEqual(found.theirs, ['from Node', 3])
      assert.equal(found.own, text)
      assert.deepEqual(found.peers, [`127.0.0.1 ${server.publicKey.toString('hex')}`])
      assert.equal(found.nothing, null)
      assert.equal(found.last, '1234 bytes')
      assert.equal(found.size, 20 * 10_000 + found.last.length)
      assert.deepEqual(problems, [])
      await page.close()
    })
  }
})
