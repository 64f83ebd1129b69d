// The programs that upstream's readmes show, of cores and stores of cores, with what they print noted.

import b4a from 'b4a'

import { eventually } from './support/scene.mjs'
import { sameWithBothStores, sameWithEveryPairOfStores } from './support/stores.mjs'

const text = (block) => b4a.toString(block)

async function collect (stream) {
  const all = []
  for await (const data of stream) all.push(text(data))
  return all
}

/** A core in a folder of its own, which closes with the program. */
function opened ({ Hypercore, folder, defer }, ...args) {
  const core = new Hypercore(folder(), ...args)
  defer(() => core.close())
  return core
}

sameWithBothStores('readme: appending, getting and finding', async (scene) => {
  const { note } = scene
  const core = opened(scene)
  note(await core.append(b4a.from('I am a block of data')))
  note(await core.append([b4a.from('batch block 1'), b4a.from('batch block 2')]))
  note(await core.get(1), await core.get(43, { timeout: 20 }).catch((error) => error.code), await core.get(44, { wait: false }))
  note(await core.has(0), await core.has(0, 3), await core.has(2, 5), await core.update(), core.length)
  const other = opened(scene)
  await other.append([b4a.from('abc'), b4a.from('d'), b4a.from('efg')])
  note(await other.seek(1), await other.seek(3), await other.seek(5))
})

sameWithBothStores('readme: streams', async (scene) => {
  const { note } = scene
  const core = opened(scene)
  await core.append(Array.from({ length: 20 }, (_, i) => `block ${i}`))
  note(await collect(core.createReadStream()), await collect(core.createReadStream({ start: 10, end: 15 })))
  note((await collect(core.createByteStream())).join(''), (await collect(core.createByteStream({ byteOffset: 3, byteLength: 50 }))).join('|'))
  const ws = core.createWriteStream()
  const done = new Promise((resolve) => { ws.on('finish', resolve) })
  for (const data of ['hello', 'world']) ws.write(data)
  ws.end()
  await done
  note(text(await core.get(core.length - 2)), text(await core.get(core.length - 1)))
})

sameWithBothStores('readme: dropping, cutting and describing', async (scene) => {
  const { note } = scene
  const core = opened(scene)
  await core.append(Array.from({ length: 18 }, (_, i) => `${i}`))
  note(await core.clear(4), await core.clear(0, 10), await core.clear(12, { diff: true }), core.contiguousLength)
  await core.truncate(16)
  note(core.length, core.fork)
  const { key, discoveryKey, ...info } = await core.info({ storage: true })
  note(info, key.equals(core.key), discoveryKey.equals(core.discoveryKey))
  await core.startMarking()
  await core.get(11)
  await core.get(14)
  await core.sweep()
  note(await Promise.all(Array.from({ length: 16 }, (_, i) => core.has(i))))
})

sameWithBothStores('readme: an atom', async (scene) => {
  const { note } = scene
  const core = opened(scene)
  await core.ready()
  await core.append('block 1')
  const atom = core.state.storage.createAtom()
  const atomicSession = core.session({ atom })
  await atomicSession.ready()
  await core.append('block 2')
  await atomicSession.append('atom block 2')
  await atom.flush()
  note(text(await core.get(core.length - 1)), core.length)
})

sameWithBothStores('readme: user data, branches and encryption', async (scene) => {
  const { note } = scene
  const core = opened(scene, { userData: { hello: 'world' }, encryption: { key: b4a.alloc(32, 7) } })
  await core.ready()
  await core.setUserData('more', b4a.from('data'))
  note(await core.getUserData('hello'), await core.getUserData('more'), await core.getUserData('none'))
  await core.append(['a', 'b'])
  const branch = core.session({ name: 'branch' })
  await branch.append('c')
  note(core.length, branch.length, await core.commit(branch), text(await core.get(2)), core.padding)
  note((await core.get(0, { raw: true })).byteLength, (await core.info()).byteLength)
})

sameWithEveryPairOfStores('readme: downloading, and extensions', async ({ createA, createB, note, replicate }) => {
  const [a, b] = [createA(), createB()]
  const core = a.get({ name: 'core' })
  await core.append(Array.from({ length: 30 }, (_, i) => `block ${i}`))
  const clone = b.get(core.key)
  await clone.ready()
  const heard = []
  const [one, other] = [core, clone].map((core) => core.registerExtension('greetings', { encoding: 'utf-8', onmessage: (message, peer) => { heard.push([message, peer.remotePublicKey.byteLength]) } }))
  replicate(a, b)
  const done = clone.findingPeers()
  note(await clone.update(), clone.length)
  done()
  const range = clone.download({ start: 0, end: 10 })
  note(await range.done(), await clone.has(0, 10))
  note(await clone.download({ blocks: [14, 19, 17] }).done(), await clone.has(14), await clone.has(19), await clone.has(15))
  const endless = clone.download({ start: 0, end: -1 })
  await eventually(async () => await clone.has(0, 30))
  endless.destroy()
  await eventually(() => core.peers.length > 0)
  one.broadcast('hello')
  other.send('hello back', clone.peers[0])
  await eventually(() => heard.length === 2)
  note(heard.sort())
})

sameWithBothStores('readme: stores, namespaces, watching and groups', async ({ create, note, Hypercore }) => {
  const store = create()
  const core1 = store.get({ name: 'core-1' })
  const core2 = store.get({ name: 'core-2' })
  await Promise.all([core1.ready(), core2.ready()])
  const ns1 = store.namespace('a')
  const ns2 = ns1.namespace('b')
  const watched = []
  store.watch((core) => {
    const weakCore = new Hypercore({ core, weak: true })
    watched.push(weakCore)
  })
  const [main1, main2] = [ns1.get({ name: 'main' }), ns2.get({ name: 'main' })]
  await Promise.all([main1.ready(), main2.ready()])
  note(main1.key.equals(main2.key), core1.key.equals(core2.key), watched.length)
  await Promise.all(watched.map((core) => core.ready()))
  note(watched.map((core) => [core.weak, core.opened, core.writable]))
  const topic = b4a.alloc(32, 9)
  const handle = store.notifyGroup(topic)
  const updates = []
  handle.on('update', ({ length }) => { updates.push(length) })
  const grouped = store.get({ name: 'grouped', group: topic })
  await grouped.append('x')
  const keys = []
  for await (const key of handle.updates()) keys.push(key.equals(grouped.key))
  note(updates, keys)
  handle.destroy()
  const listed = []
  for await (const discoveryKey of store.list()) listed.push(discoveryKey.byteLength)
  note(listed)
  await store.close()
  note(watched.map((core) => core.closed))
})
