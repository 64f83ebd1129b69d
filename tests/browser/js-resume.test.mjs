// A page whose WebSocket breaks and that comes back to its relay, with the engine in the page or in a worker: what goes both ways
// arrives whole, on the same stream.

import assert from 'node:assert/strict'
import test from 'node:test'

import DHT from 'hyperdht'

import { defer } from '../interop/support/cleanup.mjs'
import { startProxy } from '../interop/support/proxy.mjs'
import { relayFigure, startRelay } from '../interop/support/relay.mjs'
import { parseBootstrap, startTestnet } from '../interop/support/testnet.mjs'
import { openPage, servePackage, startBrowser } from './support/browser.mjs'

const TOTAL = 3 * 1024 * 1024
const CUTS = 4

/** A native peer that sends everything back, a relay to it, and a browser with the package. */
async function startEcho (t, args, onstream = () => {}) {
  const { bootstrap } = await startTestnet(t)
  const relay = await startRelay(t, { bootstrap, args: ['--allow-private', ...args] })
  const native = new DHT({ bootstrap: parseBootstrap(bootstrap), host: '127.0.0.1', firewalled: false })
  defer(t, () => native.destroy({ force: true }))
  const server = native.createServer((stream) => {
    onstream()
    stream.on('error', () => {})
    stream.on('data', (data) => { stream.write(data) })
    stream.on('end', () => { stream.end() })
  })
  await server.listen()
  const { url } = await servePackage(t)
  return { relay, server, url, context: await startBrowser(t) }
}

test('a page comes back to its relay, and its streams notice nothing', async (t) => {
  let accepted = 0
  const { relay, server, url, context } = await startEcho(t, [], () => { accepted++ })

  for (const entry of ['index', 'worker']) {
    await t.test(entry === 'index' ? 'with the engine in the page' : 'with the engine in a worker', async () => {
      const proxy = await startProxy(t, relay.url)
      const { page } = await openPage(context, url)
      await page.exposeFunction('cut', () => { proxy.reset() })
      const before = [accepted, await relayFigure(relay, 'resumed_total')]
      const found = await page.evaluate(async ({ entry, relay, peer, total, cuts }) => {
        const { DHT, ready } = await import(`/hypertab/browser/${entry}.js`)
        await ready()
        const dht = new DHT({ relay, webrtc: false })
        const events = []
        for (const name of ['relay-interrupted', 'relay-resumed', 'relay-close']) dht.on(name, () => { events.push(name) })
        await dht.ready()
        const once = (emitter, name) => new Promise((resolve) => { emitter.once(name, resolve) })
        const key = Uint8Array.from(peer.match(/../g), (byte) => parseInt(byte, 16))
        const stream = dht.connect(key)
        let closed = 0
        stream.on('close', () => { closed++ })
        await once(stream, 'open')
        const sent = new Uint32Array(total / 4).map((_, index) => index)
        const bytes = new Uint8Array(sent.buffer)
        const got = new Uint8Array(total)
        let size = 0
        const all = new Promise((resolve) => {
          stream.on('data', (data) => {
            got.set(data, size)
            size += data.byteLength
            if (size === total) resolve()
          })
        })
        for (let at = 0, cut = 0; at < total; at += 32768) {
          if (!stream.write(bytes.subarray(at, at + 32768))) await once(stream, 'drain')
          if (cut < cuts && at > (cut + 1) * total / (cuts + 1)) {
            cut++
            const resumed = once(dht, 'relay-resumed')
            await window.cut()
            await resumed
          }
        }
        await all
        const same = got.every((byte, at) => byte === bytes[at])
        const result = { events, same, closed, online: dht.online }
        await dht.destroy()
        return result
      }, { entry, relay: proxy.url, peer: server.publicKey.toString('hex'), total: TOTAL, cuts: CUTS })

      assert.deepEqual(found.events, Array.from({ length: CUTS }, () => ['relay-interrupted', 'relay-resumed']).flat())
      assert.equal(found.same, true)
      assert.equal(found.closed, 0)
      assert.equal(found.online, true)
      assert.equal(accepted, before[0] + 1)
      assert.equal(await relayFigure(relay, 'resumed_total'), before[1] + CUTS)
      await page.close()
    })
  }
})

test('a page that has lost its network waits for it, and finds out what died without it', async (t) => {
  const { relay, server, url, context } = await startEcho(t, ['--per-link-resume-grace', '60s'])

  for (const entry of ['index', 'worker']) {
    await t.test(entry === 'index' ? 'with the engine in the page' : 'with the engine in a worker', async () => {
      const proxy = await startProxy(t, relay.url)
      const { page } = await openPage(context, url)
      const devtools = await context.newCDPSession(page)
      await devtools.send('Network.enable')
      const setOffline = async (offline) => {
        await devtools.send('Network.emulateNetworkConditions', { offline, latency: 0, downloadThroughput: -1, uploadThroughput: -1 })
        await page.waitForFunction((offline) => navigator.onLine === !offline, offline)
      }
      await page.evaluate(async ({ entry, relay, peer }) => {
        const { DHT, ready } = await import(`/hypertab/browser/${entry}.js`)
        await ready()
        const dht = new DHT({ relay, webrtc: false })
        const events = []
        for (const name of ['relay-connecting', 'relay-interrupted', 'relay-resumed', 'relay-close']) dht.on(name, () => { events.push(name) })
        await dht.ready()
        const key = Uint8Array.from(peer.match(/../g), (byte) => parseInt(byte, 16))
        const stream = dht.connect(key)
        let echoed = 0
        stream.on('data', (data) => { echoed += data.byteLength })
        await stream.opened
        Object.assign(window, { dht, stream, events, echoed: () => echoed })
      }, { entry, relay: proxy.url, peer: server.publicKey.toString('hex') })
      const write = async (bytes) => await page.evaluate((bytes) => { window.stream.write(new Uint8Array(bytes)) }, bytes)
      const echoed = async (bytes) => await page.waitForFunction((bytes) => window.echoed() === bytes, bytes)
      const events = async () => await page.evaluate(() => window.events.splice(0))
      await write(1000)
      await echoed(1000)
      assert.deepEqual(await events(), ['relay-connecting'])

      // The network goes, and the connection dies without a word. Nobody knows, until there is a network again.
      await setOffline(true)
      proxy.freeze()
      await write(2000)
      await setOffline(false)
      await echoed(3000)
      assert.deepEqual(await events(), ['relay-interrupted', 'relay-connecting', 'relay-resumed'])

      // The connection breaks with the network: no attempt is made before there is one.
      await setOffline(true)
      proxy.refuses = true
      proxy.reset()
      await page.waitForFunction(() => window.events.length > 0)
      await write(4000)
      assert.deepEqual(await events(), ['relay-interrupted'])
      proxy.refuses = false
      await setOffline(false)
      await echoed(7000)
      assert.deepEqual(await events(), ['relay-connecting', 'relay-resumed'])
      assert.deepEqual(await page.evaluate(async () => {
        const { dht, stream } = window
        const state = [dht.online, stream.destroyed]
        await dht.destroy()
        return state
      }), [true, false])
      await page.close()
    })
  }
})
