// Upstream against upstream over a HyperDHT of its own: shows that the helpers of the other tests tell the truth.

import assert from 'node:assert/strict'
import test from 'node:test'
import { fileURLToPath } from 'node:url'

import { startProcess } from './support/process.mjs'
import { startTestnet } from './support/testnet.mjs'
import { block } from './support/upstream.mjs'

const peer = fileURLToPath(new URL('./support/peer.mjs', import.meta.url))

test('two processes meet by topic on a test network and replicate', async (t) => {
  const { bootstrap } = await startTestnet(t)
  const writer = startProcess(t, 'node', [peer])
  const reader = startProcess(t, 'node', [peer])
  const { key } = await writer.ask('open')
  const seeded = await writer.ask('seed', { count: 50, size: 1024 })
  await reader.ask('open', { key })

  await writer.ask('swarm', { bootstrap, client: false })
  await reader.ask('swarm', { bootstrap, server: false })
  const downloaded = await reader.ask('download', { end: 50 })

  assert.deepEqual(downloaded, seeded)
  assert.equal((await reader.ask('get', { index: 49 })).hex, block(49, 1024).toString('hex'))
})

test('an append reaches a peer that is already connected', async (t) => {
  const { bootstrap } = await startTestnet(t)
  const writer = startProcess(t, 'node', [peer])
  const reader = startProcess(t, 'node', [peer])
  const { key } = await writer.ask('open')
  await reader.ask('open', { key })
  await writer.ask('swarm', { bootstrap, client: false })
  await reader.ask('swarm', { bootstrap, server: false })
  await reader.next('peer')

  await writer.ask('append', { blocks: ['later'] })

  assert.deepEqual(await reader.next('append'), { event: 'append', length: 1 })
  assert.equal((await reader.ask('get', { index: 0 })).hex, Buffer.from('later').toString('hex'))
})

test('a process that ends early is reported with what it said last', async (t) => {
  const child = startProcess(t, 'node', ['-e', 'console.error("no such thing"); process.exit(3)'])

  await assert.rejects(child.next('listening'), /ended before: event listening.*code 3[^]*no such thing/)
})
