// Programs in the manner of upstream's own suite: groups of cores, what is stored, and when cores rest.

import { eventually, outcome } from './support/both.mjs'
import { sameWithBothStores, sameWithEveryPairOfStores } from './support/stores.mjs'

const seed = (byte) => Buffer.alloc(32, byte)
const unsafe = (primaryKey = seed(1)) => ({ primaryKey, unsafe: true })
const tick = () => new Promise((resolve) => setTimeout(resolve, 5))
const all = async (stream) => {
  const list = []
  for await (const entry of stream) list.push(entry)
  return list
}

sameWithBothStores('a group tells which of its cores changed', async ({ create, note }) => {
  const store = create(null, unsafe())
  const topic = seed(9)
  const handle = store.notifyGroup(topic)
  const events = []
  store.on('group-active', (topic, update) => { events.push(['active', topic, update]) })
  handle.on('update', (update) => { events.push(['update', update]) })
  note(await all(handle.updates()))
  const cores = []
  for (const name of ['a', 'b', 'c']) {
    const core = store.get({ name, group: name === 'c' ? seed(8) : topic })
    await core.ready()
    core.on('append', () => { events.push(['append', name]) })
    core.on('truncate', () => { events.push(['truncate', name]) })
    cores.push(core)
  }
  note(await all(handle.updates()), events.length)
  for (const core of [cores[1], cores[0], cores[2]]) {
    await core.append(['x', 'y'])
    await tick()
  }
  note(await all(handle.updates()), await all(handle.updates({ reverse: false })), await all(store.notifyGroup(seed(8)).updates()))
  const now = Date.now()
  await tick()
  await cores[1].append('z')
  note(await all(handle.updates({ since: now })), await all(handle.updates({ since: now, reverse: false })), await all(handle.updates({ since: Date.now() + 1000 })))
  await cores[1].truncate(1)
  note(events)
  handle.destroy()
  handle.destroy()
  const before = events.length
  await cores[0].append('after')
  note(events.slice(before))
})

sameWithBothStores('several handles, and a core that several stores opened', async ({ create, note }) => {
  const store = create(null, unsafe())
  const sub = store.namespace('sub')
  const topic = seed(3)
  const handles = [store.notifyGroup(topic), store.notifyGroup(topic), store.notifyGroup(seed(4))]
  const told = []
  handles.forEach((handle, index) => handle.on('update', ({ length, fork }) => { told.push([index, length, fork]) }))
  const core = store.get({ name: 'a', group: topic })
  await core.append('x')
  note(told.splice(0))
  handles[0].destroy()
  await sub.get({ key: core.key }).append('y').catch(() => {})
  await core.append('z')
  note(told.splice(0))
  handles[1].destroy()
  await core.append('z')
  note(told)
})

sameWithBothStores('a group outlives its store', async ({ create, folder, note }) => {
  const at = folder()
  const first = create(at, unsafe())
  const topic = seed(5)
  const core = first.get({ name: 'a', group: topic })
  await core.append('x')
  note(core.core.header.group?.key ?? null)
  note((await outcome(core.setGroup(seed(6)))).error?.code ?? null)
  await first.close()
  const second = create(at, unsafe())
  note(await all(second.notifyGroup(topic).updates()))
  const events = []
  second.on('group-active', (topic, { length }) => { events.push([topic, length]) })
  const again = second.get({ name: 'a' })
  await again.append('y')
  note(events)
})

sameWithBothStores('a group of more cores than are listed at once', async ({ create, note }) => {
  const store = create(null, unsafe())
  const topic = seed(11)
  const keys = new Set()
  for (let i = 0; i < 270; i++) {
    const core = store.get({ name: `core ${i}`, group: topic })
    await core.append('x')
    keys.add(core.id)
  }
  const handle = store.notifyGroup(topic)
  const [forwards, backwards] = [await all(handle.updates({ reverse: false })), await all(handle.updates())]
  note(forwards.length, new Set(forwards.map((key) => key.toString('hex'))).size)
  note(forwards.map(String).join() === backwards.reverse().map(String).join(), keys.size)
  for await (const key of handle.updates()) {
    note(key.byteLength)
    break
  }
})

sameWithEveryPairOfStores('a group tells what peers brought', async ({ createA, createB, note, replicate }) => {
  const [a, b] = [createA(null, unsafe()), createB(null, unsafe(seed(2)))]
  const core = a.get({ name: 'a' })
  await core.append('x')
  const topic = seed(7)
  const updates = []
  b.notifyGroup(topic).on('update', ({ key, length, fork }) => { updates.push([key, length, fork]) })
  const copy = b.get({ key: core.key, group: topic })
  await copy.ready()
  replicate(a, b)
  await copy.get(0)
  await eventually(() => updates.length === 1)
  await core.append('y')
  await eventually(() => updates.length === 2)
  note(updates, await all(b.notifyGroup(topic).updates()))
})

sameWithBothStores('what is stored of a core is exported without its secrets', async ({ create, note }) => {
  const store = create(null, unsafe())
  note(await store.storage.export(seed(1)))
  const core = store.get({ name: 'a' })
  await core.append(['a', 'b', 'c'])
  const batch = core.session({ name: 'batch' })
  await batch.append('d')
  const shape = ({ head, auth, sessions, data }) => [
    { ...head, timestamp: typeof head.timestamp }, auth, sessions, data.map(({ blocks, tree }) => [blocks, tree])
  ]
  note(shape(await store.storage.export(core.discoveryKey)), shape(await store.storage.export(core.discoveryKey, { batches: true })))
  const long = store.get({ name: 'long' })
  await long.append(Array.from({ length: 100 }, (_, i) => `block ${i}`))
  const { data } = await store.storage.export(long.discoveryKey)
  note(data[0].blocks, data[0].tree.length)
  const [info, none] = await store.storage.getInfos([core.discoveryKey, seed(2)])
  note(info.auth.key, info.head.length, none, (await all(store.storage.createAliasStream())).map(({ alias }) => alias.name).sort())
})

sameWithBothStores('a core goes on downloading for a while', async ({ create, note }) => {
  const store = create(null, unsafe())
  const key = seed(20)
  const lingering = store.get({ key, notDownloadingLinger: 60 })
  await lingering.ready()
  const { core } = lingering
  note(core.replicator.downloading, core.replicator.isDownloading())
  await lingering.close()
  note(core.replicator.downloading)
  await eventually(() => !core.replicator.downloading)
  const back = store.get(key)
  await back.ready()
  note(core === back.core, core.replicator.downloading)
  const none = store.get({ key: seed(21), notDownloadingLinger: 0 })
  await none.ready()
  const other = none.core
  note(other.replicator.downloading)
  await none.close()
  note(other.replicator.downloading)
  const passive = store.get({ key: seed(22), active: false })
  await passive.ready()
  note(passive.core.replicator.downloading)
})

sameWithBothStores('snapshots and checkouts say that they are writable', async ({ create, note, Hypercore }) => {
  const store = create(null, unsafe())
  const core = store.get({ name: 'a' })
  await core.append('x')
  for (const options of [{}, { writable: false }]) {
    const snapshot = core.snapshot(options)
    await snapshot.ready()
    const failed = await outcome(snapshot.append('y'))
    note(snapshot.writable, 'error' in failed, snapshot.length, core.length)
  }
  const reader = store.get({ key: seed(4) })
  const readers = reader.snapshot()
  await readers.ready()
  note(reader.writable, readers.writable)
  const readonly = core.session({ writable: false })
  const fixed = readonly.snapshot()
  await fixed.ready()
  note(readonly.writable, fixed.writable)
})
