// A bee of a million keys that the native engine wrote, read over TCP by the package and by upstream: what a lookup fetches.

import assert from 'node:assert/strict'
import { connect } from 'node:net'
import test from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import Upstream from 'hyperbee'
import UpstreamCore from 'hypercore'
import Hyperbee from 'hypertab/hyperbee'
import Hypercore from 'hypertab/hypercore'

import { defer } from './support/cleanup.mjs'
import { startCorePeer } from './support/core-peer.mjs'
import { temporaryFolder } from './support/folder.mjs'

const text = { keyEncoding: 'utf-8', valueEncoding: 'utf-8' }
const key = (i) => `key-${String(i).padStart(7, '0')}`

const KEYS = Number(process.env.HYPERTAB_BEE_KEYS ?? 1_000_000)
const LOOKUPS = 12

test('a lookup in a million keys fetches about the height of the tree', async (t) => {
  const { peer, core: { key: coreKey } } = await startCorePeer(t)
  await peer.ask('bee', { keys: KEYS }, 120_000)
  const { port } = await peer.ask('listen')

  for (const [name, Bee, Core] of [['hypertab', Hyperbee, Hypercore], ['upstream', Upstream, UpstreamCore]]) {
    await t.test(name, async (t) => {
      const core = new Core(temporaryFolder(t), coreKey)
      const bee = new Bee(core, text)
      defer(t, () => bee.close())
      await bee.ready()
      const stream = core.replicate(true, { keepAlive: false })
      const socket = connect(port, '127.0.0.1')
      for (const end of [socket, stream]) end.on('error', () => {})
      socket.pipe(stream).pipe(socket)
      defer(t, () => { socket.destroy() })
      await core.update({ wait: true })
      assert.equal(core.length, KEYS + 1)
      let fetched = 0
      core.on('download', () => { fetched++ })
      const counts = []
      for (let i = 0; i < LOOKUPS; i++) {
        await core.clear(0, core.length)
        fetched = 0
        const fresh = bee.checkout(bee.version)
        const place = i * 104_729 % KEYS
        const entry = await fresh.get(i % 4 === 3 ? `${key(place)}x` : key(place))
        assert.equal(entry === null, i % 4 === 3)
        await quiet(core)
        counts.push(fetched)
        await fresh.close()
      }
      t.diagnostic(`blocks of a lookup: ${counts}`)
      if (name === 'hypertab') assert.ok(Math.max(...counts) <= 12, `${counts}`)
    })
  }
})

/** Waits until nothing was asked for during a fifth of a second: what a lookup prefetches may come after its entry. */
async function quiet (core) {
  for (let looks = 0; looks < 4;) {
    await sleep(50)
    looks = core.peers.every(({ inflight }) => inflight === 0) ? looks + 1 : 0
  }
}
