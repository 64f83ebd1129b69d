// One program over cores, bees and drives: in a tab that has its store alone, and where the store is another tab's, a worker's, or another
// tab's that the worker works through. It notes the same.

import assert from 'node:assert/strict'
import test from 'node:test'

import { openPage, servePackage, startBrowser } from './support/browser.mjs'
import { ends, random } from './support/tabs.mjs'

const SEED = Number(process.env.HYPERTAB_SEED ?? Date.now() % 1_000_000)

/** Runs on a page: opens the store, and has ready what others ask of this tab. */
async function openStore ([entry, name]) {
  const { Corestore, Hyperbee, Hyperdrive } = await import(`/hypertab/browser/${entry}.js`)
  globalThis.kit = await import(`/hypertab/browser/${entry}.js`)
  const store = globalThis.store = new Corestore(name)
  await store.ready()
  const bees = new Map()
  const bee = (name) => {
    if (!bees.has(name)) bees.set(name, new Hyperbee(store.get({ name }), { keyEncoding: 'utf-8', valueEncoding: 'utf-8' }))
    return bees.get(name)
  }
  // In one tab, a drive has its cores to itself.
  const drives = new Map()
  const drive = globalThis.driveOf = (name) => {
    if (!drives.has(name)) drives.set(name, new Hyperdrive(store.namespace(name)))
    return drives.get(name)
  }
  const core = (name) => store.get({ name, valueEncoding: 'utf-8' })
  /** What somebody else does with the store. */
  globalThis.acts = {
    append: async (name, values) => { await core(name).append(values) },
    truncate: async (name, length) => { const log = core(name); await log.ready(); await log.truncate(length) },
    put: async (name, key, value) => { await bee(name).put(key, value) },
    del: async (name, key) => { await bee(name).del(key) },
    write: async (name, path, text) => { await drive(name).put(path, new TextEncoder().encode(text)) },
    remove: async (name, path) => { await drive(name).del(path) }
  }
}

/**
 * Programs about what only an engine has, and what is lost with it: blocks that were cut, for snapshots; what an atom has gathered; which
 * peers it has, and what it was about to tell of them.
 */
const PASSING = ['what is only kept in memory', 'a peer', 'a drive of a peer']

/* global acts, driveOf, elsewhere, kit, notes */

/** Programs that run on a page, each with what it notes. `other(name, ...args)` has the other tab do something. */
const programs = {
  async 'events of a log' ({ note, other, store }) {
    const core = store.get({ name: 'log', valueEncoding: 'utf-8' })
    await core.ready()
    const session = core.session({ valueEncoding: 'utf-8' })
    await session.ready()
    const events = []
    for (const [name, one] of [['core', core], ['session', session]]) {
      one.on('append', () => events.push([name, 'append', one.length, one.byteLength]))
      one.on('truncate', (length, fork) => events.push([name, 'truncate', length, fork, one.length]))
      one.on('close', () => events.push([name, 'close']))
    }
    const until = async (length) => { while (core.length !== length) await new Promise((resolve) => core.once('append', resolve)) }
    await core.append(['a', 'b'])
    note(events.splice(0), core.length, core.contiguousLength)
    await Promise.all([until(3), other('append', 'log', ['c'])])
    note(events.splice(0), await core.get(2), await core.has(2))
    const snapshot = core.snapshot({ valueEncoding: 'utf-8' })
    await snapshot.ready()
    await Promise.all([new Promise((resolve) => core.once('truncate', resolve)), other('truncate', 'log', 1)])
    note(events.splice(0), core.length, core.fork, snapshot.length, snapshot.fork, snapshot.signedLength)
    note(await core.get(0), await snapshot.get(0))
    await core.append(['d', 'e', 'f'])
    await core.truncate(2)
    await core.clear(0)
    note(events.splice(0), core.length, core.byteLength, core.fork, await core.has(0), await core.has(1), core.contiguousLength)
    note(await core.get(0, { wait: false }), await core.seek(0), await core.seek(1), [...await core.treeHash()].length)
    const info = await core.info()
    note(info.length, info.contiguousLength, info.byteLength, info.fork, info.padding)
    await session.close()
    note(events.splice(0), session.closed, core.closed)
    await core.close()
    note(events.splice(0), await core.get(0).catch((error) => error.code), await core.append('x').catch((error) => error.code))
    note(core.length, snapshot.length)
    await snapshot.close()
  },

  async 'streams of a log' ({ note, other, store }) {
    const core = store.get({ name: 'streams', valueEncoding: 'utf-8' })
    await core.append(['a', 'bb', 'ccc', 'dddd'])
    const all = async (stream) => {
      const list = []
      for await (const data of stream) list.push(typeof data === 'string' ? data : new TextDecoder().decode(data))
      return list
    }
    note(await all(core.createReadStream()), await all(core.createReadStream({ start: 1, end: 3 })), await all(core.createReadStream({ reverse: true, limit: 2 })))
    note((await all(core.createByteStream({ byteOffset: 2, byteLength: 5 }))).join(''))
    const seen = []
    const live = core.createReadStream({ live: true, start: 3 })
    const ended = new Promise((resolve) => live.on('close', resolve))
    const four = new Promise((resolve) => live.on('data', (data) => { if (seen.push(data) === 4) resolve() }))
    await other('append', 'streams', ['e'])
    await core.append('f')
    await other('append', 'streams', ['g'])
    await four
    note(seen)
    // What it waits for comes, and it is over.
    live.destroy()
    await other('append', 'streams', ['end'])
    await ended
    const writer = core.createWriteStream()
    writer.write('h')
    writer.end('i')
    await new Promise((resolve) => writer.on('close', resolve))
    note(core.length, await core.get(8), await core.get(9))
    await core.close()
  },

  async 'closing in the middle' ({ note, store, kit }) {
    const core = store.get({ name: 'closing', valueEncoding: 'utf-8' })
    await core.append(['a', 'b'])
    const session = core.session({ valueEncoding: 'utf-8' })
    await session.ready()
    const outcome = (promise) => promise.then((value) => ['fine', value?.length ?? value], (error) => [error.code, error.message.replace(/ \(discovery key.*/, '')])
    const waiting = [session.get(7), session.get(8, { timeout: 5 }), session.update({ wait: true }), session.download({ start: 5, end: 9 }).done(), session.seek(100)].map(outcome)
    note(await waiting[1])
    await session.close()
    note(await Promise.all([waiting[0], waiting[2], waiting[3], waiting[4]]))
    note(core.closed, await core.get(1))
    const appending = core.append(['c', 'd'])
    const closing = core.close()
    note(await outcome(appending), await outcome(closing))
    const again = store.get({ name: 'closing', valueEncoding: 'utf-8' })
    await again.ready()
    note(again.length)
    const opening = again.session()
    await Promise.all([opening.close(), again.close()])
    const other = new kit.Hyperbee(store.get({ name: 'closing-bee' }), { keyEncoding: 'utf-8' })
    const batch = other.batch()
    await batch.put('a', 'b')
    await other.close()
    note((await outcome(batch.flush()))[0])
  },

  async 'branches, records and batches' ({ note, store }) {
    const core = store.get({ name: 'branches', valueEncoding: 'utf-8' })
    await core.append(['a', 'b', 'c'])
    const branch = core.session({ name: 'branch', valueEncoding: 'utf-8' })
    await branch.ready()
    await branch.append(['d', 'e'])
    note(branch.length, core.length, await branch.get(4), await branch.get(0))
    note(await core.commit(branch))
    note(core.length, await core.get(4))
    await branch.truncate(2, { fork: 7 }).catch((error) => { note(error.code) })
    note(branch.length, branch.fork)
    const late = core.session({ name: 'branch', valueEncoding: 'utf-8' })
    await late.ready()
    note(late.length)
    await core.setUserData('one', 'value')
    await core.setUserData('two', new Uint8Array(100_000).fill(7))
    note(new TextDecoder().decode(await core.getUserData('one')), (await core.getUserData('two')).byteLength, await core.getUserData('three'))
    await Promise.all([late, branch, core].map((one) => one.close()))
  },

  async 'what is only kept in memory' ({ note, other, store }) {
    const core = store.get({ name: 'kept', valueEncoding: 'utf-8' })
    await core.append(['a', 'b', 'c'])
    const snapshot = core.snapshot({ valueEncoding: 'utf-8' })
    await snapshot.ready()
    await Promise.all([new Promise((resolve) => core.once('truncate', resolve)), other('truncate', 'kept', 1)])
    await core.append(['d', 'e'])
    note(await snapshot.get(0), await snapshot.get(2), await snapshot.get(3).catch((error) => error.code), snapshot.length, core.length)
    await snapshot.close()
    const atom = core.core.storage.createAtom()
    const inside = core.session({ atom, valueEncoding: 'utf-8' })
    await inside.ready()
    await inside.append('atomic')
    note(inside.length, core.length)
    await atom.flush()
    note(core.length, await core.get(core.length - 1))
    await inside.close()
    await core.close()
  },

  async 'watching a bee' ({ note, other, store, kit }) {
    const bee = new kit.Hyperbee(store.get({ name: 'bee' }), { keyEncoding: 'utf-8', valueEncoding: 'utf-8' })
    await bee.put('a', '1')
    const watcher = bee.watch({ gte: 'a', lt: 'm' })
    await watcher.ready?.()
    const changes = async ([current, previous]) => {
      const list = []
      for await (const { left, right } of current.createDiffStream(previous.version, { gte: 'a', lt: 'm' })) list.push([left?.key ?? null, left?.value ?? null, right?.value ?? null])
      return [current.version, previous.version, list]
    }
    const next = async () => await changes((await watcher.next()).value)
    let waiting = next()
    await other('put', 'bee', 'b', '2')
    note(await waiting)
    waiting = next()
    await other('put', 'bee', 'z', 'beyond')
    await bee.put('c', '3')
    note((await waiting)[2])
    waiting = next()
    await other('del', 'bee', 'a')
    note((await waiting)[2])
    await watcher.destroy()
    const entry = await bee.getAndWatch('b')
    note(entry.node.value)
    const updated = new Promise((resolve) => entry.once('update', resolve))
    await other('put', 'bee', 'b', 'two')
    await updated
    note(entry.node.value, entry.node.seq)
    await entry.close()
    const history = bee.createHistoryStream({ live: true, gte: -1 })
    const seen = []
    const got = (count) => new Promise((resolve) => { const look = () => { if (seen.length >= count) resolve(); else setTimeout(look, 5) }; look() })
    history.on('data', ({ type, key, value }) => { seen.push([type, key, value]) })
    history.on('error', () => {})
    await got(1)
    await other('put', 'bee', 'd', '4')
    await bee.put('e', '5')
    await got(3)
    note(seen)
    history.destroy()
    const snapshot = bee.snapshot()
    await snapshot.ready()
    await other('put', 'bee', 'd', 'four')
    while ((await bee.get('d')).value !== 'four') await new Promise((resolve) => setTimeout(resolve, 5))
    note((await snapshot.get('d')).value, (await bee.checkout(3).get('b'))?.value)
    const keys = []
    for await (const { key } of bee.createReadStream({ reverse: true })) keys.push(key)
    note(keys, (await bee.peek({ gt: 'b' })).key, bee.version)
    note(await bee.put('f', '6', { cas: () => false }), (await bee.get('f')), bee.version)
    await snapshot.close()
    await bee.close()
  },

  async 'watching a drive' ({ note, other }) {
    const drive = driveOf('drive')
    const text = async (path, from = drive) => { const bytes = await from.get(path); return bytes && new TextDecoder().decode(bytes) }
    const bytes = (text) => new TextEncoder().encode(text)
    await drive.put('/a.txt', bytes('a'))
    const watcher = drive.watch('/sub')
    await watcher.ready?.()
    let waiting = watcher.next()
    await other('write', 'drive', '/beyond.txt', 'x')
    await other('write', 'drive', '/sub/b.txt', 'b')
    let [current, previous] = (await waiting).value
    note(await text('/sub/b.txt', current), await text('/sub/b.txt', previous))
    waiting = watcher.next()
    await drive.put('/sub/c.txt', bytes('c'))
    ;[current, previous] = (await waiting).value
    note(await text('/sub/c.txt', current), await text('/sub/c.txt', previous))
    await watcher.destroy()
    const list = []
    for await (const { key } of drive.list('/')) list.push(key)
    const names = []
    for await (const name of drive.readdir('/')) names.push(name)
    note(list, names, drive.version)
    const batch = drive.batch()
    await batch.put('/batch/1', bytes('1'))
    await batch.del('/a.txt')
    await batch.flush()
    note(await text('/batch/1'), await text('/a.txt'), await drive.exists('/sub/b.txt'))
    const old = drive.checkout(2)
    note(await text('/a.txt', old))
    const chunks = []
    const size = 300_000
    const write = drive.createWriteStream('/big.bin')
    for (let i = 0; i < 3; i++) write.write(new Uint8Array(size / 3).fill(i))
    write.end()
    await new Promise((resolve) => write.on('close', resolve))
    for await (const chunk of drive.createReadStream('/big.bin', { start: 99_999, length: 3 })) chunks.push(...chunk)
    note(chunks, (await drive.entry('/big.bin')).value.blob.byteLength)
    await drive.symlink('/link', '/sub/b.txt')
    note(await text('/link'), await drive.compare(await drive.entry('/link'), await drive.entry('/big.bin')))
    await drive.clear('/big.bin')
    note(await drive.has('/big.bin'), await drive.get('/big.bin', { wait: false }).catch((error) => error.code))
    await other('remove', 'drive', '/sub/b.txt')
    while (await drive.exists('/sub/b.txt')) await new Promise((resolve) => setTimeout(resolve, 5))
    await old.close()
    await drive.close()
    note(await drive.get('/sub/c.txt').catch((error) => error.code ?? error.message))
  },

  async 'a peer' ({ note, store, kit, here }) {
    const theirs = new here.Hypercore(here.memory(), { valueEncoding: 'utf-8' })
    await theirs.append(Array.from({ length: 40 }, (_, i) => `block ${i}`))
    const core = store.get({ key: theirs.key, valueEncoding: 'utf-8' })
    await core.ready()
    const events = []
    core.on('peer-add', (peer) => events.push(['peer-add', peer.remotePublicKey.byteLength, peer.stream === streams[1].noiseStream, peer.protomux !== null]))
    core.on('peer-remove', (peer) => events.push(['peer-remove', peer.stream === streams[1].noiseStream]))
    core.on('download', (index, byteLength, peer) => events.push(['download', index, byteLength, peer?.stream === streams[1].noiseStream]))
    core.on('upload', (index) => events.push(['upload', index]))
    const streams = [theirs.replicate(true), core.replicate(false)]
    const closed = Promise.all(streams.map((stream) => new Promise((resolve) => stream.on('close', resolve))))
    for (const stream of streams) stream.on('error', () => {})
    streams[0].pipe(streams[1]).pipe(streams[0])
    note(await core.update({ wait: true }), core.length, core.contiguousLength)
    note(await core.get(3), await core.has(3), await core.has(4))
    const range = core.download({ start: 10, end: 15 })
    await range.done()
    const linear = core.download({ blocks: [20, 22], linear: true })
    await linear.done()
    const downloads = events.filter(([name]) => name === 'download').map(([, index, size, isOurs]) => [index, size, isOurs]).sort(([a], [b]) => a - b)
    note(events.filter(([name]) => name !== 'download'), downloads)
    note(core.core.bitfield.countSet(0, 40), core.peers.length, theirs.peers.length)
    const told = []
    const mine = core.registerExtension('test', { encoding: 'utf-8', onmessage: (message, peer) => { told.push(['here', message, peer === core.peers[0]]) } })
    const answered = new Promise((resolve) => {
      const their = theirs.registerExtension('test', { encoding: 'utf-8', onmessage: (message, peer) => { told.push(['there', message]); their.send('back', peer) } })
      const look = () => { if (told.length === 2) resolve(); else setTimeout(look, 5) }
      look()
    })
    await new Promise((resolve) => setTimeout(resolve, 50))
    mine.broadcast('hello')
    await answered
    note(told)
    const grown = new Promise((resolve) => core.once('append', resolve))
    await theirs.append('more')
    await grown
    note(core.length, await core.get(40))
    const session = core.session({ valueEncoding: 'utf-8' })
    const pending = session.get(100)
    pending.catch(() => {})
    await theirs.truncate(30)
    while (core.fork !== 1) await new Promise((resolve) => setTimeout(resolve, 5))
    note(core.length, core.fork, await core.get(29))
    await session.close()
    note(await pending.catch((error) => error.code))
    events.length = 0
    streams[0].destroy()
    await closed
    while (core.peers.length > 0) await new Promise((resolve) => setTimeout(resolve, 5))
    note(events, core.peers.length, await core.get(25, { timeout: 20 }).catch((error) => error.code), await core.get(3))
    await Promise.all([core.close(), theirs.close()])
  },

  async 'what a peer has' ({ note, store, kit, here }) {
    const remote = new here.Corestore(here.memory())
    const theirs = remote.get({ name: 'log', valueEncoding: 'utf-8' })
    await theirs.append(Array.from({ length: 40 }, (_, i) => `block ${i}`))
    const source = new here.Hyperdrive(remote.namespace('drive'))
    for (let i = 0; i < 4; i++) await source.put(`/files/${i}.bin`, new Uint8Array(150_000).fill(i))
    const core = store.get({ key: theirs.key, valueEncoding: 'utf-8' })
    const drive = new kit.Hyperdrive(store, source.key)
    const mine = store.get({ name: 'given', valueEncoding: 'utf-8' })
    await Promise.all([core.ready(), drive.ready(), mine.ready()])
    const streams = [remote.replicate(true), store.replicate(false)]
    for (const stream of streams) stream.on('error', () => {})
    streams[0].pipe(streams[1]).pipe(streams[0])
    note(await core.get(39), await core.get(3))
    await core.download({ start: 10, end: 15 }).done()
    note(core.length, core.contiguousLength, core.core.bitfield.countSet(0, 40))
    const grown = new Promise((resolve) => { core.on('append', () => { if (core.length === 42) resolve() }) })
    await theirs.append(['more', 'and more'])
    await grown
    note(await core.get(41), core.length)
    const given = remote.get({ key: mine.key, valueEncoding: 'utf-8' })
    await mine.append(['one', 'two'])
    note(await given.get(1), await given.get(0))
    while ((await drive.entry('/files/3.bin')) === null) await new Promise((resolve) => setTimeout(resolve, 5))
    note((await drive.get('/files/1.bin')).byteLength)
    const watcher = drive.watch('/')
    const next = watcher.next()
    await source.put('/late.txt', new Uint8Array(5))
    const [current] = (await next).value
    note((await current.get('/late.txt'))?.byteLength)
    await watcher.destroy()
    await (await drive.download('/files')).done?.()
    note(await drive.has('/files'))
    await mine.append('three')
    note(await given.get(2))
    await theirs.truncate(30)
    while (core.fork !== 1) await new Promise((resolve) => setTimeout(resolve, 5))
    note(core.length, await core.get(29))
    for (const stream of streams) stream.destroy()
    await Promise.all([drive.close(), core.close(), mine.close()])
    await remote.close()
  },

  async 'a drive of a peer' ({ note, store, kit, here }) {
    const source = new here.Hyperdrive(new here.Corestore(here.memory()))
    const bytes = (size, fill) => new Uint8Array(size).fill(fill)
    for (let i = 0; i < 4; i++) await source.put(`/files/${i}.bin`, bytes(150_000, i))
    await source.put('/other.txt', bytes(10, 9))
    const drive = new kit.Hyperdrive(store, source.key)
    await drive.ready()
    const streams = [source.replicate(true), drive.replicate(false)]
    for (const stream of streams) stream.on('error', () => {})
    streams[0].pipe(streams[1]).pipe(streams[0])
    const done = drive.findingPeers?.() ?? (() => {})
    setTimeout(done, 500)
    await drive.update({ wait: true })
    const list = []
    for await (const { key } of drive.list('/')) list.push(key)
    note(list, drive.version, await drive.has('/files/0.bin'))
    const monitor = drive.monitor('/files/1.bin')
    await monitor.ready()
    const totals = []
    monitor.on('update', () => { totals.push(monitor.downloadStats.targetBytes) })
    note((await drive.get('/files/1.bin')).byteLength)
    while (monitor.downloadStats.monitoringBytes < 150_000) await new Promise((resolve) => setTimeout(resolve, 5))
    note(monitor.downloadStats.targetBytes, monitor.downloadStats.targetBlocks, monitor.downloadStats.percentage, totals.length > 0)
    await monitor.close()
    const download = drive.download('/files')
    await (download.done?.() ?? (await download).done?.())
    note(await drive.has('/files'), await drive.has('/files/3.bin'), await drive.has('/other.txt'))
    const blobs = await drive.getBlobs()
    note(blobs.core.length, blobs.core.peers.length, drive.core.peers.length)
    const watcher = drive.watch('/')
    const next = watcher.next()
    await source.put('/late.txt', bytes(5, 1))
    const [current] = (await next).value
    note((await current.get('/late.txt'))?.byteLength)
    await watcher.destroy()
    const target = new kit.Hyperdrive(store.namespace('mirrored'))
    const mirror = drive.mirror(target)
    await mirror.done()
    note(mirror.count, (await target.get('/files/2.bin')).byteLength)
    for (const stream of streams) stream.destroy()
    await drive.close()
    note((await target.get('/other.txt')).byteLength)
    await target.close()
    await source.close()
  }
}

/** Runs on a page: one of the programs. */
async function runProgram ([source, isAlone]) {
  const here = await import('/hypertab/browser/index.js')
  const notes = globalThis.notes = []
  const plain = (value) => value instanceof Uint8Array ? [...value] : value
  const note = (...values) => { notes.push(JSON.parse(JSON.stringify(values.map(plain), (_, value) => value === undefined ? 'undefined' : plain(value)))) }
  const other = async (name, ...args) => { await (isAlone ? acts[name](...args) : elsewhere(name, args)) }
  const program = (0, eval)(`({ ${source} })`)
  try {
    await Object.values(program)[0]({ note, other, store: store.session(), kit, here })
  } catch (error) {
    notes.push(`${error?.code} ${error?.stack ?? error}`)
  }
  return notes
}

test('programs note the same whoever has the store', async (t) => {
  const { url } = await servePackage(t)
  const context = await startBrowser(t, { isOwn: true })
  let owner = null
  await context.exposeFunction('elsewhere', async (name, args) => { await owner.evaluate(([name, args]) => acts[name](...args), [name, args]) })
  const { page: alone } = await openPage(context, url)
  await alone.evaluate(openStore, ['index', 'alone'])
  const expected = new Map()
  const sources = Object.entries(programs).map(([name, program]) => [name, program.toString()])
  const run = async (page, source, isAlone) => await Promise.race([
    page.evaluate(runProgram, [source, isAlone]),
    new Promise((resolve) => { setTimeout(resolve, 15_000).unref() }).then(async () => [...await page.evaluate(() => notes), 'it did not end'])
  ])
  const wrong = []
  for (const [name, source] of sources) {
    const notes = await run(alone, source, true)
    t.diagnostic(`${name}: ${JSON.stringify(notes)}`)
    if (!notes.every((entry) => Array.isArray(entry))) wrong.push(name)
    expected.set(name, notes)
  }

  assert.deepEqual(wrong, [])
  for (const [how, ownerEntry, entry] of [
    ['in a tab that works through another', 'index', 'index'],
    ['in a tab whose worker works through another', 'index', 'worker'],
    ['in a tab whose worker works through the worker of another', 'worker', 'worker']
  ]) {
    await t.test(how, async (t) => {
      const store = how.replaceAll(' ', '-')
      owner = (await openPage(context, url)).page
      await owner.evaluate(openStore, [ownerEntry, store])
      await owner.evaluate(() => globalThis.store.get({ name: 'keeps it open' }).ready())
      for (const [name, source] of sources) {
        await t.test(name, async () => {
          const { page } = await openPage(context, url)
          await page.evaluate(openStore, [entry, store])
          assert.deepEqual(await run(page, source, false), expected.get(name))
          await page.close()
        })
      }
      await owner.close()
    })
  }

  // Whoever has the store is gone again and again, in the middle of everything.
  for (const entry of ['index', 'worker']) {
    const how = `while tabs that have the store crash, ${entry === 'worker' ? 'with workers' : 'without workers'} (HYPERTAB_SEED=${SEED})`
    await t.test(how, async (t) => {
      const below = random(SEED)
      const store = `crashing-${entry}`
      const open = async (entry) => {
        const { page } = await openPage(context, url)
        await page.evaluate(openStore, [entry, store])
        await page.evaluate(() => globalThis.store.get({ name: 'keeps it open' }).ready())
        return page
      }
      for (const [name, source] of sources.filter(([name]) => !PASSING.includes(name))) {
        await t.test(name, async () => {
          const victims = [await open('index'), await open('index')]
          owner = await open('index')
          const { page } = await openPage(context, url)
          await page.evaluate(openStore, [entry, store])
          const running = run(page, source, false)
          for (const victim of victims) {
            await new Promise((resolve) => { setTimeout(resolve, below(300)) })
            await ends.crash(victim)
          }
          assert.deepEqual(await running, expected.get(name))
          await Promise.all([page.close(), owner.close()])
        })
      }
    })
  }
})
