// A TCP proxy whose connections can be broken, as the networks of tabs are.

import { once } from 'node:events'
import { connect, createServer } from 'node:net'

import { defer } from './cleanup.mjs'

/** Starts one before a relay. */
export async function startProxy (t, target) {
  const { hostname, port } = new URL(target)
  const pairs = new Set()
  const proxy = {
    url: '',
    refuses: false,
    /** Of new connections, lets nothing come back but the first piece: the answer to the request for a WebSocket. */
    silences: false,
    /** Connections that there were. */
    opened: 0,
    /** Those that there are. */
    get connections () { return pairs.size },
    /** Breaks every connection at both ends. */
    reset () {
      for (const [near, far] of pairs) {
        near.resetAndDestroy()
        far.resetAndDestroy()
      }
    },
    /** Lets nothing more through the connections that there are, and closes none of them. */
    freeze () {
      for (const [near, far] of pairs) {
        near.unpipe(far)
        far.unpipe(near)
        near.pause()
        far.pause()
      }
    },
    /** Breaks every connection here, and leaves the relay in the belief that it is there. */
    forsake () {
      for (const [near, far] of pairs) {
        far.removeAllListeners('close')
        near.unpipe(far)
        far.unpipe(near)
        far.resume()
        near.resetAndDestroy()
      }
    }
  }
  const forsaken = new Set()
  const listener = createServer((near) => {
    if (proxy.refuses) return near.resetAndDestroy()
    const far = connect(Number(port), hostname)
    const pair = [near, far]
    proxy.opened++
    pairs.add(pair)
    forsaken.add(far)
    for (const socket of pair) socket.on('error', () => {})
    near.on('close', () => {
      pairs.delete(pair)
      if (far.listenerCount('close') > 0) far.destroy()
    })
    far.on('close', () => {
      forsaken.delete(far)
      near.destroy()
    })
    near.pipe(far)
    if (proxy.silences) far.once('data', (data) => { near.write(data) }).resume()
    else far.pipe(near)
  }).listen(0, '127.0.0.1')
  await once(listener, 'listening')
  defer(t, () => {
    for (const far of forsaken) far.destroy()
    for (const [near] of pairs) near.destroy()
    listener.close()
  })
  proxy.url = `ws://127.0.0.1:${listener.address().port}`
  return proxy
}
