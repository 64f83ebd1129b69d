// Copying a log that is far larger than what a process may keep: upstream serves it, and the native peer and the package
// take it to a disk.
//
// HYPERTAB_LARGE is the size in MiB.

import assert from 'node:assert/strict'
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'

import { defer } from './support/cleanup.mjs'
import { startCorePeer } from './support/core-peer.mjs'
import { temporaryFolder } from './support/folder.mjs'
import { startProcess } from './support/process.mjs'
import { listen } from './support/tcp.mjs'
import { createCore } from './support/upstream.mjs'

const SIZE = Number(process.env.HYPERTAB_LARGE ?? 512) << 20
const BLOCK = 256 << 10
const COUNT = SIZE / BLOCK
const PATIENCE = 60_000 + COUNT * 100

/**
 * Memory that a copy may take beyond what its process has at the start. How much it is depends on how busy the disk is, its bound does not:
 * 16 MiB are asked for and 32 wait for the disk; those 32, and the 16 committed before that are not durable yet, are in pages of redb, too, up to
 * twice as large, and its cache has 32. That is 176; of a log of 1,536 MiB 184 were seen.
 */
const MAX_GROWTH = 224 << 20

/** Has glibc give blocks back when they are freed: how many it keeps for later depends on how its threads take turns. */
const GIVES_BACK = { MALLOC_ARENA_MAX: '1', MALLOC_MMAP_THRESHOLD_: '65536' }

const reader = `
  const net = require('node:net')
  const { Hypercore } = require('hypertab')
  const [path, key, port] = process.argv.slice(1)
  const tell = (event, more) => console.log(JSON.stringify({ event, ...more }))
  const main = async () => {
    const core = new Hypercore(path, Buffer.from(key, 'hex'))
    await core.ready()
    tell('open')
    const socket = net.connect(port, '127.0.0.1')
    const stream = core.replicate(true, { keepAlive: false })
    socket.pipe(stream).pipe(socket)
    await core.update({ wait: true })
    await core.download({ start: 0, end: core.length }).done()
    const treeHash = Buffer.from(await core.treeHash()).toString('hex')
    tell('whole', { length: core.length, contiguousLength: core.contiguousLength, treeHash })
    await core.close()
    socket.destroy()
    tell('closed')
  }
  main()
  process.stdin.resume()
`

test('a log larger than the memory that its copies take', { timeout: 4 * PATIENCE, skip: process.platform !== 'linux' && 'memory is read from /proc' }, async (t) => {
  const writer = await createCore(t)
  // The same bytes with a number in front: what is measured is not how fast they are made.
  for (let index = 0; index < COUNT; index += 16) {
    await writer.append(Array.from({ length: Math.min(16, COUNT - index) }, (_, i) => numbered(index + i)))
  }
  const port = await listen(t, writer)
  const key = writer.key.toString('hex')
  const treeHash = Buffer.from(await writer.treeHash()).toString('hex')

  await t.test('the native peer, to a file', async (t) => {
    const path = join(temporaryFolder(t), 'core.redb')
    const { peer } = await startCorePeer(t, { key, path }, GIVES_BACK)
    const memory = watch(t, peer.pid)
    await peer.ask('connect', { port })
    const copy = await peer.ask('download', { start: 0, end: COUNT }, PATIENCE)
    assert.deepEqual([copy.length, copy.contiguousLength, copy.treeHash], [COUNT, COUNT, treeHash])
    assert.equal((await peer.ask('get', { index: COUNT - 1 })).hex, numbered(COUNT - 1).toString('hex'))
    report(t, memory(), statSync(path).size)
  })

  await t.test('the package, to a folder', async (t) => {
    const path = temporaryFolder(t)
    const child = startProcess(t, 'node', ['-e', reader, path, key, String(port)], { cwd: import.meta.dirname })
    await child.next('open')
    const memory = watch(t, child.pid)
    const copy = await child.next('whole', { patience: PATIENCE })
    assert.deepEqual([copy.length, copy.contiguousLength, copy.treeHash], [COUNT, COUNT, treeHash])
    const growth = memory()
    await child.next('closed')
    report(t, growth, statSync(join(path, 'store')).size)
  })
})

const filling = Buffer.alloc(BLOCK, 'a log that is larger than memory ')

function numbered (index) {
  const block = Buffer.from(filling)
  block.writeUInt32LE(index)
  return block
}

function report (t, growth, stored) {
  t.diagnostic(`${growth >> 20} MiB of memory for a log of ${SIZE >> 20} MiB`)
  assert.ok(stored >= SIZE, `${stored >> 20} MiB are stored`)
  assert.ok(growth < MAX_GROWTH, `${growth >> 20} MiB of memory for a log of ${SIZE >> 20} MiB`)
}

/** Returns what says by how much the memory of a process grew at most, in bytes. */
function watch (t, pid) {
  const resident = () => Number(/^RssAnon:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) * 1024
  const start = resident()
  let most = start
  const look = () => { most = Math.max(most, resident()) }
  const timer = setInterval(look, 20)
  defer(t, () => clearInterval(timer))
  return () => {
    look()
    clearInterval(timer)
    return most - start
  }
}
