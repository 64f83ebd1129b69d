// What upstream's newest Hypercore and Corestore do beside those that the package follows: the same programs, with the newest
// on either side.

import { eventually, outcome, outcomeOf } from './support/both.mjs'
import { sameWithEveryPairOfLatestStores, sameWithLatestStores } from './support/stores.mjs'

const seed = (byte) => Buffer.alloc(32, byte)
const unsafe = (primaryKey = seed(1)) => ({ primaryKey, unsafe: true })
const blocks = (length) => Array.from({ length }, (_, index) => `block ${index}`)
const errorOf = async (run) => {
  const { error } = await outcomeOf(run)
  return error && [error.code, error.message.replace(/ \(discovery key.*/, '')]
}

sameWithEveryPairOfLatestStores('blocks, cuts and new blocks', async ({ createA, createB, note, replicate }) => {
  const [a, b] = [createA(null, unsafe()), createB(null, unsafe(seed(2)))]
  const core = a.get({ name: 'a' })
  await core.append(blocks(40))
  const copy = b.get({ key: core.key })
  replicate(a, b)
  note(String(await copy.get(7)), copy.length, await copy.has(8))
  await copy.download({ start: 0, end: 40 }).done()
  note(copy.contiguousLength, copy.byteLength, await copy.treeHash(), await copy.seek(100))
  await core.truncate(30)
  await core.append(['other', 'history'])
  await eventually(() => copy.fork === 1 && copy.length === 32)
  note(String(await copy.get(31)), await copy.treeHash())
  const own = b.get({ name: 'b' })
  await own.append('back')
  note(String(await a.get({ key: own.key }).get(0)))
})

sameWithEveryPairOfLatestStores('blocks that were cleared in the middle leave the others', async ({ createA, createB, note, replicate }) => {
  const [a, b] = [createA(null, unsafe()), createB(null, unsafe(seed(2)))]
  const core = a.get({ name: 'a' })
  await core.append(blocks(16))
  const copy = b.get({ key: core.key })
  replicate(a, b)
  await copy.update({ wait: true })
  const [peer] = copy.peers
  await eventually(() => peer.remoteContiguousLength === 16)
  await core.clear(4, 8)
  await eventually(() => peer.remoteContiguousLength === 4)
  note(await core.count(0, 16), core.contiguousLength)
  for (const index of [0, 3, 8, 9, 15]) note(String(await copy.get(index, { timeout: 5000 })))
  await core.clear(12, 16)
  note(String(await copy.get(10, { timeout: 5000 })), await copy.count(0, 16), await core.count(0, 16))
})

sameWithEveryPairOfLatestStores('the last block comes with each longer log, where that is wanted', async ({ createA, createB, note, replicate }) => {
  const [a, b] = [createA(null, unsafe()), createB(null, unsafe(seed(2)))]
  const core = a.get({ name: 'a' })
  await core.append(blocks(4))
  const copy = b.get({ key: core.key })
  note(await copy.setAlwaysLatestBlock(1), await copy.setAlwaysLatestBlock(true))
  replicate(a, b)
  await eventually(() => copy.length === 4)
  await core.append(['x', 'y'])
  await eventually(() => copy.has(5))
  note(copy.length, await copy.count(4, 6))
  await copy.setAlwaysLatestBlock(false)
  await core.append('z')
  await eventually(() => copy.length === 7)
  note(String(await copy.get(0)), await copy.has(6))

  const other = a.get({ name: 'other' })
  await other.append(['a', 'b'])
  const given = b.get({ key: other.key, allowLatestBlock: true })
  await eventually(() => given.length === 2)
  await other.append('c')
  await eventually(() => given.has(2))
  note(given.length)
})

sameWithLatestStores('how many blocks are here', async ({ create, note }) => {
  const store = create(null, unsafe())
  const core = store.get({ name: 'a' })
  note(await core.count(0, 10))
  await core.append(blocks(100))
  const ranges = [[0, 100], [0, 0], [10, 20], [90, 200], [100, 101], [20, 10]]
  for (const [start, end] of ranges) note(await core.count(start, end))
  await core.clear(10, 15)
  await core.clear(60)
  for (const [start, end] of ranges) note(await core.count(start, end))
  for (const bounds of [[-1, 2], [0, -1], [0.5, 2], ['0', 2], [], [0]]) note(await errorOf(() => core.count(...bounds)))
  const snapshot = core.snapshot()
  const branch = core.session({ name: 'branch' })
  await branch.append(['x', 'y', 'z'])
  note(await branch.count(100, 200))
  await core.append('after')
  note(await core.count(0, 200), await snapshot.count(95, 100), await core.session().count(0, 12))
  await core.close()
  note(await errorOf(() => core.session()))
})

sameWithLatestStores('a session puts its core into a group', async ({ create, note }) => {
  const store = create(null, unsafe())
  const topic = seed(3)
  const handles = [store.notifyGroup(topic), store.namespace('sub').notifyGroup(topic), store.notifyGroup(seed(4))]
  const told = []
  handles.forEach((handle, index) => handle.on('update', ({ length, fork }) => { told.push([index, length, fork]) }))
  const plain = store.get({ name: 'a' })
  await plain.append('x')
  note(told.splice(0), plain.core.header.group)
  const grouped = store.get({ name: 'a', group: topic })
  await grouped.ready()
  note(grouped.core.header.group?.key)
  await plain.append('y')
  note(told.splice(0))
  const other = store.session().get({ name: 'a', group: seed(4) })
  await other.ready()
  await other.append('z')
  note(other.core.header.group?.key, told.splice(0))
  const session = store.get({ name: 'b' }).session({ group: topic })
  await session.append('x')
  note(told.splice(0))
  handles[1].destroy()
  await plain.truncate(1)
  note(told)
})

sameWithLatestStores('who recovers', async ({ create, Hypercore, defer, note }) => {
  Hypercore.setRecoveryPeers([seed(7)])
  defer(() => { Hypercore.setRecoveryPeers(null) })
  const core = create(null, unsafe()).get({ name: 'a' })
  await core.append('x')
  note(await errorOf(() => core.recover({ timeout: 20 })))
  const branch = core.session({ name: 'branch' })
  note(await errorOf(() => branch.recover({ timeout: 20 })), await errorOf(() => core.snapshot().recover({ timeout: 20 })))
  const session = core.session()
  await session.ready()
  const recovering = errorOf(() => session.recover())
  await session.close()
  note(await recovering, core.length)
})

sameWithEveryPairOfLatestStores('a writer that recovers hears the peers that it trusts', async ({ createA, createB, defer, Hypercore, note, replicate }) => {
  const [a, b] = [createA(null, unsafe()), createB(null, unsafe(seed(2)))]
  const core = a.get({ name: 'a' })
  await core.append(blocks(4))
  const copy = b.get({ key: core.key })
  replicate(a, b)
  await copy.download({ start: 0, end: 4 }).done()
  const [peer] = core.peers
  await eventually(() => peer.remoteLength === 4)
  Hypercore.setRecoveryPeers([peer.remotePublicKey])
  defer(() => { Hypercore.setRecoveryPeers(null) })
  const tx = core.core.storage.write()
  tx.setHints({ contiguousLength: 4, remoteContiguousLength: 0, recovering: 5 })
  await tx.flush()
  note(await core.recover({ settle: 300 }), core.recovering, await core.append('on'))
})

sameWithLatestStores('a core that is purged is gone, and no other', async ({ create, note }) => {
  const store = create(null, unsafe())
  const [one, two] = [store.get({ name: 'one' }), store.get({ name: 'two' })]
  await one.append(blocks(10))
  await two.append('kept')
  const session = one.session()
  await session.ready()
  const { key, discoveryKey } = one
  await one.purge()
  note(one.closed, session.closed, await store.storage.hasCore(discoveryKey), String(await two.get(0)))
  const again = store.get({ key })
  await again.ready()
  note(again.length, await again.has(0))
  const { core } = two
  await core.purge()
  note(two.closed, await store.storage.hasCore(two.discoveryKey))
  note(await outcome(store.get({ name: 'three' }).append('x')))
})
