// What programs see of mirrors and folders at their edges: prefixes, what counts as the same, what stops halfway, names that are none.

import { existsSync, readdirSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'

import { closed, eventually, outcome, outcomeOf } from './support/both.mjs'
import { collect, noise, sameDrives, sameDrivesOfEveryPair, write } from './support/drives.mjs'

const names = async (stream) => (await collect(stream)).map((entry) => entry.key ?? entry).sort()
const byKey = ({ key: a }, { key: b }) => a < b ? -1 : 1

/** A source and a destination. */
async function pair ({ kit, store, drive: open, defer }) {
  const destination = new kit.Hyperdrive(store().namespace('destination'))
  defer(() => destination.close())
  await destination.ready()
  return [await open(), destination]
}

/** All that a mirror does, and what it counts. */
async function run (mirror) {
  const steps = []
  const { error } = await outcome((async () => { for await (const step of mirror) steps.push(step) })())
  return [steps, error, { ...mirror.count }, mirror.bytesAdded, mirror.bytesRemoved, mirror.finished]
}

/** What says nothing of where a folder is. */
function without (root, value) {
  return JSON.parse(JSON.stringify(value ?? null).replaceAll(root, 'ROOT'))
}

sameDrives('prefixes that hold each other', async (scene) => {
  const [source, destination] = await pair(scene)
  const prefix = ['/a', '/a/b', '/c', '/a']
  for (const path of ['/a/x', '/a/b/y', '/c']) await destination.put(path, path)
  await source.put('/n', 'n')
  scene.note(await run(source.mirror(destination, { prefix })), await names(destination.list()))
  for (const path of ['/a/x', '/a/b/y', '/c']) await source.put(path, path)
  scene.note(await run(source.mirror(destination, { prefix, includeEquals: true })))
})

sameDrives('prefixes and entries of every form', async (scene) => {
  const [source, destination] = await pair(scene)
  await source.put('/a', 'x')
  await source.put('/b', 'y')
  await destination.put('/c', 'z')
  await destination.put('/a', 'old')
  const entry = await source.entry('/a')
  for (const options of [
    { entries: ['a'] }, { entries: [entry] }, { entries: [] }, { entries: ['/a', '/none'], prune: false }, { prefix: '/a' }, { prefix: 'a' }, { prefix: '/a/' }, { prefix: [] }, { prefix: '' },
    { prefix: '/', filter: (key) => key !== '/a' }, { prefix: ['/a', '/b'], prune: false, filter: (key) => key !== '/a' }
  ]) scene.note(await run(source.mirror(destination, { ...options, dryRun: true })))
})

sameDrives('what is asked whether metadata is the same', async (scene) => {
  const [source, destination] = await pair(scene)
  for (const [path, [from, fromOptions], [to, toOptions]] of [
    ['/same', ['x', { metadata: 1 }], ['x', { metadata: 2 }]],
    ['/content', ['x', { metadata: 1 }], ['y', { metadata: 1 }]],
    ['/length', ['x', { metadata: 1 }], ['yy', { metadata: 1 }]],
    ['/mode', ['x', { metadata: 1, executable: true }], ['x', { metadata: 3 }]],
    ['/neither', ['x', {}], ['x', {}]]
  ]) {
    await source.put(path, from, fromOptions)
    await destination.put(path, to, toOptions)
  }
  const calls = []
  scene.note(await run(source.mirror(destination, { includeEquals: true, metadataEquals: (from, to) => { calls.push([from, to]); return false } })), calls)
})

sameDrives('metadata that is the same', async (scene) => {
  const [source, destination] = await pair(scene)
  const pairs = [
    [null, null], [null, 0], [0, ''], [{}, {}], [{ a: 1 }, { a: 1 }], [{ a: 1, b: 2 }, { b: 2, a: 1 }], [[1], [1]], [[1], { 0: 1 }], [{ a: undefined }, {}], ['x', 'x'], ['x', 'y'], [true, true], [1, true],
    [null, { a: 1 }], [{ a: [1, { b: null }] }, { a: [1, { b: null }] }], [{ a: [1, 2] }, { a: [2, 1] }]
  ]
  for (const [i, [from, to]] of pairs.entries()) {
    await source.put(`/${i}`, 'x', { metadata: from })
    await destination.put(`/${i}`, 'x', { metadata: to })
  }
  scene.note(await run(source.mirror(destination, { includeEquals: true, dryRun: true })))
})

sameDrives('links, and entries without content', async (scene) => {
  const [source, destination] = await pair(scene)
  await source.symlink('/to-link', '/a')
  await destination.put('/to-link', 'x')
  await source.put('/to-file', 'x')
  await destination.symlink('/to-file', '/a')
  for (const drive of [source, destination]) await drive.symlink('/same', '/a')
  await source.symlink('/other', '/a')
  await destination.symlink('/other', '/b')
  await destination.symlink('/gone', '/b')
  await source.putEntry('/nothing', { executable: true })
  for (let round = 0; round < 2; round++) scene.note(await run(source.mirror(destination, { includeEquals: true })), await collect(destination.entries()))
})

sameDrives('a mirror that stops', async (scene) => {
  const { note } = scene
  const [source, destination] = await pair(scene)
  for (let i = 0; i < 5; i++) await source.put(`/f${i}`, `x${i}`)
  const mirror = source.mirror(destination)
  const monitor = mirror.monitor({ interval: 5 })
  for await (const step of mirror) {
    note(step, mirror.count)
    break
  }
  note(mirror.finished, monitor.destroyed, monitor.index, mirror.monitors.length, await names(destination.list()), await outcome(mirror.done()), await outcome(mirror.iterator.next()), mirror.finished)
  note(await run(source.mirror(destination, { transformers: [() => { throw new Error('bad') }] })), await run(source.mirror(destination, { filter: () => { throw new Error('bad') } })))
  for await (const { key } of source.mirror(destination, { batch: true })) if (key === '/f2') break
  note(await names(destination.list()))
})

sameDrives('versions as sources', async (scene) => {
  const [source, destination] = await pair(scene)
  await source.put('/a', 'x')
  await source.put('/b', 'y')
  scene.note(await run(source.checkout(2).mirror(destination)), await run(source.mirror(source)), await run(source.mirror(destination)))
})

sameDrivesOfEveryPair('how far a mirror is', async ({ A, B, store, localdrive, replicate, note, defer }) => {
  const source = new A.Hyperdrive(store(A))
  for (let i = 0; i < 3; i++) await write(source.createWriteStream(`/f${i}`, { dedup: true }), Array.from({ length: 20 }, (_, at) => noise(3000, 100 * i + at + 1)))
  await source.put('/plain', noise(200_000, 9))
  const copy = new B.Hyperdrive(store(B, {}), source.key)
  defer(async () => { for (const drive of [copy, source]) await drive.close() })
  await copy.ready()
  replicate(source, copy)
  const blobs = await copy.getBlobs()
  const map = await blobs.getBlockMap((await copy.entry('/f0')).value.blob)
  for (const i of [0, 1, 5, 19]) await blobs.core.get(map.blocks[i].index)
  const folder = localdrive(undefined, B)
  const mirror = copy.mirror(folder, { progress: true })
  const monitor = mirror.monitor({ interval: 1000 })
  let preloaded = 0
  monitor.on('preloaded', () => { preloaded++ })
  await mirror.done()
  note(preloaded, mirror.preloaded, mirror.downloadedBlocksEstimate, mirror.downloadedBytes, mirror.count, mirror.bytesAdded, mirror.downloadProgress, mirror.peers.length)
  const again = copy.mirror(folder, { progress: true })
  await again.done()
  note(again.downloadedBlocks, again.downloadedBlocksEstimate, again.count)
})

sameDrives('from folder to folder', async ({ localdrive, note }) => {
  const [from, to] = [localdrive(), localdrive()]
  await from.put('/x', '1')
  await from.put('/d/y', '2', { executable: true })
  await from.symlink('/link', '/x')
  await from.symlink('/relative', 'd/y')
  await to.put('/gone', 'z')
  const sorted = ([steps, ...rest]) => [steps.sort(byKey), ...rest]
  note(sorted(await run(from.mirror(to))), await names(to.list()), (await to.entry('/link')).value.linkname, (await to.entry('/relative')).value.linkname, await to.get('/x'))
  const mirror = from.mirror(to, { includeEquals: true, progress: true })
  note(mirror.preload, mirror.includeProgress, mirror.peers, sorted(await run(mirror)))
})

sameDrives('names of a folder that are none', async ({ localdrive, note }) => {
  const drive = localdrive()
  for (const call of [() => drive.entry({ key: '/x' }), () => drive.get({ key: '/x' }), () => drive.exists({ key: '/x' })]) note(await outcomeOf(call))
  for (const name of ['', '/', '.', '..', 'a/../..', '/a//b', 'a\\b', undefined]) {
    for (const call of [() => drive.entry(name), () => drive.get(name), () => drive.toPath(name), () => drive.exists(name)]) note(name, without(drive.root, await outcomeOf(call)))
  }
  for (const name of ['', '/', '..', '/q', undefined]) {
    for (const call of [() => drive.put(name, 'x'), () => drive.del(name), () => drive.symlink(name, 'x'), () => names(drive.list(name)), () => names(drive.readdir(name))]) note(name, without(drive.root, await outcomeOf(call)))
  }
  for (const name of ['/none', '/', { key: '/none' }]) note(without(drive.root, await outcomeOf(() => collect(drive.createReadStream(name)))))
})

sameDrives('options of a folder', async ({ kit, localdrive, note }) => {
  for (const options of [undefined, {}, { metadata: {} }, { metadata: null }, { metadata: new Map() }, { followLinks: true }, { followExternalLinks: 1 }, { atomic: true }]) {
    const drive = localdrive(options)
    note(drive.supportsMetadata, Object.keys(drive.metadata), drive._followLinks, drive._followExternalLinks, drive._atomics?.size)
  }
  note(await outcomeOf(() => new kit.Localdrive()), new kit.Localdrive('.').root === process.cwd())
  const drive = localdrive()
  for (const content of ['text', Buffer.from('b'), new Uint8Array([1]), '', Buffer.alloc(0), undefined, null]) note(await outcomeOf(() => drive.put('/v', content)), await drive.get('/v'), readdirSync(drive.root))
  for (const path of ['/a', '/b/c', '/b/d/e', '/f/g']) await drive.put(path, path)
  for (const ignore of ['/b', 'b', ['b/c', '/f'], '/b/', (key) => key.includes('d'), []]) note(await names(drive.list('/', { ignore })), await names(drive.list({ ignore })), await names(drive.list('/b', { ignore })))
  const list = drive.list('/')
  note(typeof list.return, typeof list.on, list[Symbol.asyncIterator]() === list, Object.prototype.toString.call(drive.readdir('/')))
})

sameDrives('who is told of metadata, and what goes wrong there', async ({ localdrive, note }) => {
  const calls = []
  const metadata = { get: (key) => { calls.push(['get', key]); return null }, put: async (key, value) => { calls.push(['put', key, value]) }, del: (key) => { calls.push(['del', key]) } }
  const drive = localdrive({ metadata })
  await drive.put('/a', 'x', { metadata: 0 })
  await drive.put('b', 'x', { metadata: { a: 1 } })
  await drive.put('/b', 'x', { metadata: null })
  await drive.symlink('/l', '/a')
  for (const call of [() => drive.list(), () => drive.readdir('/')]) await collect(call())
  for (const call of ['entry', 'exists', 'get', 'del']) await drive[call]('/l')
  for (const call of ['exists', 'get', 'del']) await drive[call]('/a')
  await drive.del('/none')
  note(calls.sort((a, b) => `${a}` < `${b}` ? -1 : 1))
  const failing = localdrive({ metadata: { put: () => { throw new Error('no put') }, del: () => { throw new Error('no del') } } })
  note(await outcome(failing.put('/a', 'x', { metadata: 1 })), await outcome(failing.put('/b', 'x')), existsSync(failing.toPath('/a')))
})

sameDrives('links to all kinds of places', async ({ localdrive, note }) => {
  const drive = localdrive()
  await drive.put('/a/b', 'x')
  for (const target of ['/a/b', 'a/b', './a/b', '../x', '/none', '/a', 'a', '/', '', 'a//b', '/a/../a/b']) {
    note(target, without(drive.root, await outcome(drive.symlink('/l', target))), existsSync(drive.toPath('/l')), without(drive.root, (await drive.entry('/l'))?.value))
    for (const call of [() => drive.get('/l'), () => drive.entry('/l', { follow: true }).then((entry) => entry?.key), () => names(drive.list()), () => names(drive.readdir('/')), () => readlinkSync(drive.toPath('/l'))]) {
      note(without(drive.root, await outcomeOf(call).then(({ value, error }) => error ? error.code ?? error.message : value)))
    }
  }
  await drive.symlink('/round', '/about')
  await drive.symlink('/about', '/round')
  note(without(drive.root, await outcome(drive.put('/round', 'x'))))
  const following = new drive.constructor(drive.root, { followLinks: true })
  note(await names(following.list()), await names(following.readdir('/')), (await following.entry('/l'))?.value.linkname)
})

sameDrives('files beside the one that is written', async ({ localdrive, note }) => {
  const drive = localdrive({ atomic: true })
  const [one, other] = [drive.createWriteStream('/x/f'), drive.createWriteStream('/x/f')]
  for (const stream of [one, other]) stream.write('content')
  await eventually(() => existsSync(drive.toPath('/x')) && readdirSync(drive.toPath('/x')).length === 2)
  const state = () => note(without(drive.root, [[...drive._atomics], one.atomicFilename, other.atomicFilename, one.filename, one.key, readdirSync(drive.toPath('/x'))]))
  state()
  one.end()
  await closed(one)
  state()
  other.destroy()
  await closed(other)
  state()
  const name = join(drive.root, 'q')
  note(without(drive.root, [drive._alloc(name), drive._alloc(name), drive._free(`${name}.0.localdrive.tmp`), [...drive._atomics]]))
})

sameDrives('events of streams of a folder', async ({ localdrive, note }) => {
  const drive = localdrive()
  const writing = drive.createWriteStream('/a', { executable: true })
  const events = []
  for (const name of ['open', 'drain', 'finish', 'close', 'error']) writing.on(name, (error) => events.push([name, error?.message]))
  note(writing.write('abc'), writing.write(Buffer.alloc(20_000, 1)), writing.executable, writing.metadata, writing.fd)
  writing.end()
  await closed(writing)
  note(events.splice(0), (await drive.entry('/a')).value.executable)
  const reading = drive.createReadStream('/a')
  for (const name of ['open', 'data', 'end', 'close', 'error', 'readable']) reading.on(name, (data) => events.push([name, data?.byteLength]))
  await closed(reading)
  note(events)
  for (const range of [{ start: 5 }, { end: 5 }, { start: 0, length: 0 }, { length: 3, end: 1 }, { start: 30_000 }, { start: 30_000, length: 4 }, { end: -1 }, { start: 20_002, length: 50 }]) {
    note(range, (await collect(drive.createReadStream('/a', range))).map((chunk) => chunk.byteLength))
  }
})
