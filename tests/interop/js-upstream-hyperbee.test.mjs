// Programs in the manner of upstream's own suite: one bee.

import { inspect } from 'node:util'

import b4a from 'b4a'
import c from 'compact-encoding'
import SubEncoder from 'sub-encoder'

import { outcome } from './support/both.mjs'
import { blocksOf, collect, random, sameBees } from './support/bees.mjs'

const text = { keyEncoding: 'utf-8', valueEncoding: 'utf-8' }
const letters = 'abcdefghijklmnopqrstuvwxyz'.split('')
const keysOf = (entries) => entries.map((entry) => entry.key)

sameBees('properties before and after ready', async ({ Hyperbee, create, note }) => {
  const core = await create()
  const bee = new Hyperbee(core, { metadata: { userData: Buffer.from('x') } })
  note(bee.opened, bee.closed, bee.version, bee.core === core, bee.feed === core, bee.keyEncoding, bee.valueEncoding, bee.sep, bee.prefix, bee.readonly)
  note(bee.metadata, bee.alwaysDuplicate, typeof bee.lock, bee.extension !== null, bee.constructor.name, typeof bee.ready().then)
  await bee.ready()
  note(bee.opened, bee.version, bee.id === core.id, bee.key === core.key, bee.discoveryKey === core.discoveryKey, bee.writable, bee.readable)
  note(core.length)
  await bee.put('a', 'b')
  note(core.length, bee.version, await bee.getHeader())
  const events = []
  bee.on('close', () => events.push('close'))
  await bee.close()
  note(events, bee.closed, bee.opened, core.closed)
  const other = new Hyperbee(await create(), { ...text, sep: '!', readonly: true, alwaysDuplicate: false, extension: false })
  note(other.keyEncoding.name, other.valueEncoding.name, other.sep, other.readonly, other.alwaysDuplicate, other.extension)
  note(await outcome(other.put('a', 'b')), await outcome(other.del('a')), await outcome(other.batch().put('a')))
  await other.close()
  note(inspect(bee.core) !== '')
})

sameBees('puts, gets and deletes', async ({ createBee, note }) => {
  const bee = await createBee(text)
  note(await bee.get('a'), await bee.del('a'), bee.core.length)
  note(await bee.put('a', 'one'), bee.core.length, await bee.get('a'))
  await bee.put('b')
  await bee.put('c', null)
  await bee.put('d', '')
  await bee.put('a', 'two')
  note(await bee.get('a'), await bee.get('b'), await bee.get('c'), await bee.get('d'), await bee.get('e'))
  note(await bee.getBySeq(1), await bee.getBySeq(2), await bee.getBySeq(5), await outcome(bee.getBySeq(2, { valueEncoding: 'binary' })))
  await bee.del('b')
  note(await bee.get('b'), bee.version, await bee.getBySeq(6))
  note(await bee.get('a', { valueEncoding: 'binary' }), await bee.get(Buffer.from('a'), { keyEncoding: 'binary' }))
  note(await blocksOf(bee.core))
})

sameBees('keys and values without encodings', async ({ createBee, note }) => {
  const bee = await createBee()
  await bee.put('text', 'value')
  await bee.put(Buffer.from('bytes'), Buffer.alloc(0))
  note(await bee.get('text'), await bee.get('bytes'), await collect(bee.createReadStream()))
  await bee.put('', 'empty key')
  note(await bee.get(''), await bee.peek())
})

sameBees('encodings of a bee and of one call', async ({ createBee, note }) => {
  for (const keyEncoding of ['utf-8', 'utf8', 'ascii', 'hex', 'base64', 'ucs2', 'utf16le', 'json', 'ndjson', 'binary', 'nonsense', c.string, { encode: (text) => Buffer.from(`k-${text}`), decode: (bytes) => bytes.toString().slice(2) }]) {
    const bee = await createBee({ keyEncoding, valueEncoding: keyEncoding })
    await bee.put('abcd', 'ef01')
    note(bee.keyEncoding.name ?? 'none', await bee.get('abcd'), await collect(bee.createReadStream()), (await blocksOf(bee.core))[1])
  }
  const bee = await createBee({ keyEncoding: c.uint, valueEncoding: 'json' })
  await bee.put(7, { a: [1, 2] })
  await bee.put(300, null, { valueEncoding: 'binary' })
  await bee.put('x', 'y', text)
  note(await bee.get(7), await bee.get(300), await bee.get('x', text), await bee.get(7, { valueEncoding: 'utf-8' }))
  const batch = bee.batch(text)
  await batch.put('in batch', 'value')
  await batch.put(9, 10, { keyEncoding: c.uint, valueEncoding: 'json' })
  note(await batch.get('in batch'), await batch.get(9, { keyEncoding: c.uint, valueEncoding: 'json' }))
  await batch.flush()
  note(await bee.getBySeq(1), await bee.getBySeq(3, text), await collect(bee.createHistoryStream({ keyEncoding: 'hex', valueEncoding: 'hex' })))
})

sameBees('ranges of every size and bound', async ({ createBee, note }) => {
  for (const size of [0, 1, 8, 26]) {
    const bee = await createBee(text)
    const batch = bee.batch()
    for (const letter of letters.slice(0, size)) await batch.put(letter, letter)
    await batch.flush()
    for (const reverse of [false, true]) {
      for (const limit of [undefined, -1, 0, 1, 3, 100, -5]) {
        for (const range of [{}, { gt: 'c' }, { gte: 'c' }, { lt: 'x' }, { lte: 'x' }, { gt: 'c', lt: 'f' }, { gte: 'c', lte: 'c' }, { gt: 'f', lt: 'c' }, { gt: 'bb', lte: 'dd' }, { gt: 'b', gte: 'd' }, { lt: 'd', lte: 'f' }, { gt: 'zz' }]) {
          note(size, keysOf(await collect(bee.createReadStream({ ...range, reverse, limit }))).join(''))
        }
      }
      note(await bee.peek({ gt: 'c', reverse }), await bee.peek({ gt: 'zz' }), await bee.peek(null, { reverse }), keysOf(await collect(bee.createReadStream({ gt: 'c' }, { reverse, limit: 2 }))))
    }
  }
})

sameBees('iterators', async ({ createBee, note }) => {
  const bee = await createBee(text)
  for (const letter of letters) await bee.put(letter, letter)
  const iterator = bee.createRangeIterator({ gt: 'b', lte: 'p' })
  await iterator.open()
  note(await iterator.next(), await iterator.next())
  const { version, gt, lte, gte, lt, limit, reverse, ended, checkpoint } = iterator.snapshot()
  note(version, gt, lte, gte, lt, limit, reverse, ended, checkpoint)
  await iterator.close()
  note(keysOf(await collect(bee.createReadStream({ gt: 'b', lte: 'p', checkpoint }))))
  const down = bee.createRangeIterator({ reverse: true, limit: 3 })
  await down.open()
  const seen = []
  for (let entry = await down.next(); entry; entry = await down.next()) seen.push(entry.key, down.snapshot().checkpoint, down.snapshot().limit)
  note(seen, await down.next())
  await down.close()
})

sameBees('streams that are left, stopped and aborted', async ({ createBee, note }) => {
  const bee = await createBee(text)
  for (const letter of letters) await bee.put(letter, letter)
  const sessions = bee.core.sessions.length
  for await (const entry of bee.createReadStream()) if (entry.key === 'c') break
  note(bee.core.sessions.length === sessions)
  const stream = bee.createReadStream()
  const events = []
  for (const name of ['end', 'close', 'error']) stream.on(name, (error) => events.push(name, error?.message))
  await new Promise((resolve) => stream.once('data', resolve))
  stream.destroy()
  await new Promise((resolve) => stream.on('close', resolve))
  note(events)
  const abort = new AbortController()
  const aborted = bee.createReadStream({}, { signal: abort.signal })
  note((await outcome((async () => {
    for await (const entry of aborted) if (entry.key === 'b') abort.abort()
  })())).error?.message)
  const unread = bee.createDiffStream(3)
  unread.destroy()
  await new Promise((resolve) => unread.on('close', resolve))
  note(bee.core.sessions.length === sessions)
})

sameBees('batches', async ({ createBee, note }) => {
  const bee = await createBee(text)
  const batch = bee.batch()
  note(batch.version, batch.length, batch.tree === bee, batch.core === bee.core, batch.feed === bee.core, batch.autoFlush, batch.locked)
  for (const letter of letters) await batch.put(letter, letter)
  note(batch.length, batch.version, bee.core.length, await bee.get('a'), await batch.get('a'), await batch.getBySeq(3))
  await batch.del('b')
  await batch.del('nothing')
  note(await batch.get('b'), keysOf(await collect(batch.createReadStream({ lt: 'f' }))), await batch.peek({ gt: 'c' }), batch.length)
  await batch.flush()
  note(bee.core.length, batch.length, batch.locked, keysOf(await collect(bee.createReadStream())))
  const closed = bee.batch()
  await closed.put('never', 'x')
  await closed.close()
  note(await bee.get('never'), bee.version)
  const empty = bee.batch()
  await empty.flush()
  note(bee.version)
  const locking = bee.batch()
  await locking.lock()
  const put = bee.put('after', 'x').then(() => note('put', bee.version))
  await locking.put('before', 'x')
  note(bee.version)
  await locking.flush()
  await put
  const raw = bee.batch()
  await raw.put('raw', '1')
  await raw.put('raw', '2')
  const blocks = raw.toBlocks()
  note(blocks, raw.toBlocks() === blocks)
  await bee.core.append(blocks)
  await raw.close()
  note(await bee.get('raw'))
  const old = bee.batch({ checkout: 29 })
  note(old.version, await old.get('a'), await outcome(old.get('z')))
  await old.close()
  note(await blocksOf(bee.core))
})

sameBees('one after another, without waiting', async ({ createBee, note }) => {
  const bee = await createBee(text)
  await Promise.all(letters.map((letter) => bee.put(letter, letter)))
  await Promise.all(letters.slice(0, 9).map((letter) => bee.del(letter)))
  const batch = bee.batch()
  await Promise.all(letters.map((letter) => batch.put(letter, letter + letter)))
  const gets = Promise.all(letters.map((letter) => batch.get(letter)))
  note(await gets)
  await batch.flush()
  note(await Promise.all(letters.map((letter) => bee.get(letter))), await blocksOf(bee.core))
})

sameBees('compare and swap', async ({ createBee, note }) => {
  const bee = await createBee({ keyEncoding: 'utf-8', valueEncoding: 'json' })
  const seen = []
  const cas = (answer) => (prev, next) => {
    seen.push([prev, next])
    return answer
  }
  await bee.put('a', 1, { cas: cas(false) })
  await bee.put('a', 2, { cas: cas(false) })
  await bee.put('a', 3, { cas: cas(true) })
  await bee.put('a', 4, { cas: async (prev, next) => prev.value !== next.value })
  await bee.del('a', { cas: cas(false) })
  note(await bee.get('a'), bee.version)
  await bee.del('nothing', { cas: cas(true) })
  await bee.del('a', { cas: cas(true) })
  note(await bee.get('a'), bee.version, seen)
  const batch = bee.batch()
  for (let i = 0; i < 40; i++) await batch.put(`k${i}`, i, { cas: cas(true) })
  for (let i = 0; i < 40; i++) await batch.put(`k${i}`, i % 3, { cas: (prev, next) => prev.value % 2 === next.value % 2 })
  for (let i = 0; i < 40; i++) await batch.del(`k${i}`, { cas: (prev) => prev.value === 1 })
  await batch.flush()
  note(await collect(bee.createReadStream()), await blocksOf(bee.core))
})

sameBees('values that are there already', async ({ createBee, note }) => {
  const bee = await createBee({ ...text, alwaysDuplicate: false })
  for (const letter of letters) await bee.put(letter, 'same')
  await bee.put('a', 'same')
  await bee.put('m', 'same')
  note(bee.version)
  await bee.put('m', 'other')
  await bee.put('n', null)
  await bee.put('n', null)
  const batch = bee.batch()
  for (const letter of letters) await batch.put(letter, 'same')
  await batch.flush()
  note(bee.version, await blocksOf(bee.core))
})

sameBees('parts', async ({ createBee, note }) => {
  const bee = await createBee(text)
  const a = bee.sub('a')
  const ab = a.sub('b', { sep: '!', valueEncoding: 'json' })
  const other = bee.sub(Buffer.from('other'), { keyEncoding: 'binary' })
  note(a.prefix, ab.prefix, a.sep, ab.sep, other.prefix, a.version, a.core === bee.core, a.writable)
  await bee.put('root', '1')
  await a.put('one', '2')
  await ab.put('two', { three: 3 })
  await other.put(Buffer.from('four'), 'x')
  await a.put('', 'empty')
  const batch = ab.batch()
  for (let i = 0; i < 20; i++) await batch.put(`n${i}`, i)
  note(keysOf(await collect(batch.createReadStream({ gt: 'n15' }))))
  await batch.flush()
  for (const part of [bee, a, ab, other]) {
    note(await collect(part.createReadStream()), keysOf(await collect(part.createReadStream({ gte: 'n', lt: 'o', reverse: true }))))
  }
  note(await a.get('one'), await ab.get('two'), await a.get(''), await ab.peek(), await outcome(ab.get('one')))
  const old = a.checkout(3)
  note(await old.get('one'), keysOf(await collect(old.createReadStream())))
  note(keysOf(await collect(a.snapshot().createReadStream())), await collect(ab.createDiffStream(2)))
  await a.del('one')
  note(await a.get('one'), await bee.getBySeq(3, { valueEncoding: 'binary' }))
  note(await outcome((async () => a.watch())()), await outcome(a.getAndWatch('x')))
  note(await blocksOf(bee.core))
})

sameBees('parts by sub-encoder', async ({ createBee, note }) => {
  const bee = await createBee()
  const users = new SubEncoder('users', 'utf-8')
  const admins = users.sub('admins')
  const numbers = new SubEncoder('numbers', { encode: (n) => Buffer.from([n]), decode: (bytes) => bytes[0] })
  await bee.put('', 'empty', { keyEncoding: users })
  await bee.put('ann', '1', { keyEncoding: users })
  await bee.put('bob', '2', { keyEncoding: users })
  await bee.put('cat', '3', { keyEncoding: admins })
  for (const n of [3, 1, 2]) await bee.put(n, 'n', { keyEncoding: numbers })
  for (const keyEncoding of [users, admins, numbers]) {
    note(await collect(bee.createReadStream({}, { keyEncoding })), await collect(bee.createReadStream({ keyEncoding })), await bee.peek({}, { keyEncoding }))
  }
  note(keysOf(await collect(bee.createReadStream({ gt: 'ann' }, { keyEncoding: users }))), keysOf(await collect(bee.createReadStream({ gte: 2, lt: 3 }, { keyEncoding: numbers }))))
  note(await bee.get('bob', { keyEncoding: users }), await collect(bee.createDiffStream(3, {}, { keyEncoding: users })))
  await bee.del('bob', { keyEncoding: users })
  note(await blocksOf(bee.core))
})

sameBees('history', async ({ createBee, note }) => {
  const bee = await createBee(text)
  for (const letter of letters.slice(0, 8)) await bee.put(letter, letter)
  await bee.del('c')
  await bee.put('d', null)
  for (const options of [
    {}, { reverse: true }, { gt: 3 }, { gte: 3 }, { since: 3 }, { lt: 5 }, { lte: 5 }, { end: 5 }, { gte: -3 }, { gt: -3 }, { lt: -3 }, { lte: -3 }, { limit: 2 }, { limit: 0 }, { limit: -1 },
    { gt: 2, lt: 6 }, { gt: 2, lt: 6, reverse: true }, { lt: 0 }, { lte: 0 }, { end: 0 }, { gte: 0 }, { gt: 0 }, { reverse: true, limit: 3 }, { gte: 100 }, { gt: 8, lt: 3 }, { gte: -2, reverse: true }
  ]) note(options, (await collect(bee.createHistoryStream(options))).map(({ type, seq, key, value }) => [type, seq, key, value]))
  note(await outcome((async () => bee.createHistoryStream({ live: true, reverse: true }))()))
  const live = bee.createHistoryStream({ live: true, gte: 9 })
  const seen = []
  const reading = (async () => {
    for await (const { type, key } of live) {
      seen.push(type, key)
      if (key === 'end') return
    }
  })()
  await bee.put('more', 'x')
  await bee.put('end', 'x')
  await reading
  note(seen)
  const empty = await createBee(text)
  note(await collect(empty.createHistoryStream()))
})

sameBees('differences', async ({ createBee, note }) => {
  const bee = await createBee(text)
  const next = random(5)
  const versions = [1]
  for (let round = 0; round < 6; round++) {
    const batch = bee.batch()
    for (let i = 0; i < 40; i++) {
      const key = `k${String(next(120)).padStart(3, '0')}`
      if (next(3) === 0) await batch.del(key)
      else await batch.put(key, `v${next(5)}`)
    }
    await batch.flush()
    versions.push(bee.version)
  }
  for (const left of versions) {
    for (const right of versions) {
      note(left, right, await collect(bee.checkout(left).createDiffStream(right)))
    }
  }
  note(await collect(bee.createDiffStream(versions[2], { gte: 'k03', lt: 'k06' })), await collect(bee.createDiffStream(versions[2], { gt: 'k03', limit: 2 })), await collect(bee.createDiffStream(versions[2], { limit: 0 })), await collect(bee.createDiffStream(versions[2], null, { lte: 'k020' })))
  note(await collect(bee.createDiffStream(bee.checkout(versions[3]))), await collect(bee.snapshot().createDiffStream(0)))
  const closed = await createBee(text)
  await closed.put('a', 'b')
  const snapshot = closed.snapshot()
  await snapshot.close()
  note(await outcome(collect(snapshot.createDiffStream(1))))
})

sameBees('checkouts and snapshots', async ({ createBee, note }) => {
  const bee = await createBee(text)
  const early = bee.snapshot()
  for (const letter of letters) await bee.put(letter, letter)
  note(early.version, await early.get('a'), await collect(early.createReadStream()))
  const snapshot = bee.snapshot()
  const old = bee.checkout(10)
  note(old.version, snapshot.version, keysOf(await collect(old.createReadStream())).join(''))
  await bee.del('a')
  await bee.put('z', 'changed')
  note(await snapshot.get('a'), await snapshot.get('z'), await old.get('z'), await bee.get('z'), snapshot.version, bee.version)
  note(bee.checkout(0).version, bee.checkout(1).version, await bee.checkout(1).get('a'))
  const later = bee.checkout(bee.version + 1)
  const waiting = later.get('z')
  await bee.put('zz', 'new')
  note((await waiting)?.value, await later.get('zz'))
  const nested = old.checkout(5)
  note(nested.version, await nested.get('d'), await nested.get('e'), old.snapshot().version)
  const encoded = bee.checkout(4, { keyEncoding: 'hex', valueEncoding: 'hex' })
  note(await collect(encoded.createReadStream()))
  note(await collect(old.createHistoryStream({ limit: 3, reverse: true })))
  for (const view of [early, snapshot, old, later, nested, encoded]) await view.close()
  note(bee.core.closed)
})

sameBees('truncations', async ({ createBee, note }) => {
  const bee = await createBee(text)
  for (const letter of letters) await bee.put(letter, 'old')
  const snapshot = bee.snapshot()
  await snapshot.ready()
  note(await bee.get('z'), await snapshot.get('c'))
  await bee.core.truncate(10)
  note(bee.version, await bee.get('z'), await bee.get('c'), keysOf(await collect(bee.createReadStream())).join(''))
  for (const letter of letters) await bee.put(letter, 'new')
  note(await bee.get('c'), await bee.get('z'), await collect(bee.createReadStream({ gt: 'w' })), await blocksOf(bee.core))
  await snapshot.close()
})

sameBees('is it a bee', async ({ Hyperbee, create, createBee, note }) => {
  const bee = await createBee()
  await bee.put('a', 'b')
  note(await Hyperbee.isHyperbee(bee.core))
  const core = await create()
  note(await outcome(Hyperbee.isHyperbee(core, { wait: false })))
  await core.append('something else')
  note(await Hyperbee.isHyperbee(core), await outcome(new Hyperbee(core.session()).getHeader()))
  const broken = new Hyperbee(core.session())
  await core.append('broken')
  note((await outcome(broken.get('a'))).error.code)
  await broken.close()
  const described = await createBee({ metadata: { contentFeed: Buffer.from('feed'), userData: 'text' } })
  await described.put('a', 'b')
  note(await described.getHeader(), await blocksOf(described.core), (await createBee({ metadata: {} })).metadata)
  const empty = await createBee()
  note(await outcome(empty.getHeader({ wait: false })))
})

sameBees('random operations write the same blocks', async ({ createBee, note }) => {
  const bee = await createBee()
  const next = random(11)
  for (let round = 0; round < 40; round++) {
    const target = round % 3 === 0 ? bee : bee.batch()
    for (let i = 0; i < (target === bee ? 10 : 60); i++) {
      const key = b4a.from(`key-${next(400)}`)
      if (next(10) < 3) await target.del(key)
      else await target.put(key, b4a.alloc(next(20), next(250)))
    }
    if (target !== bee) await target.flush()
  }
  note(bee.version, await blocksOf(bee.core))
})

sameBees('what a bee reads, in order', async ({ createBee, note }) => {
  const bee = await createBee(text)
  for (let i = 0; i < 300; i++) await bee.put(`k${(i * 37) % 300}`, 'v')
  await bee.close
  for (const key of ['k0', 'k150', 'k299', 'none']) {
    const seen = []
    const view = bee.checkout(bee.version)
    await view.get(key, { onseq: (seq) => seen.push(seq) })
    note(key, new Set(seen).size === seen.length, seen[0])
    await view.close()
  }
})

sameBees('closing', async ({ createBee, note }) => {
  const bee = await createBee(text)
  await bee.put('a', 'b')
  const stream = bee.createReadStream()
  const batch = bee.batch()
  await batch.put('c', 'd')
  const view = bee.snapshot()
  await view.ready()
  await bee.close()
  note(bee.closed, bee.core.closed, (await outcome((async () => bee.get('a'))())).error?.code, (await outcome(bee.put('a', 'b'))).error?.code, (await outcome(batch.flush())).error?.code ?? 'none')
  note((await outcome(collect(stream))).error !== undefined)
  await view.close()
  note(view.closed)
})

sameBees('clearing what is no longer linked', async ({ createBee, note }) => {
  const bee = await createBee(text)
  for (let i = 0; i < 60; i++) await bee.put(`k${i % 20}`, `v${i}`)
  for (let i = 0; i < 8; i++) await bee.del(`k${i}`)
  const present = async () => (await Promise.all(Array.from({ length: bee.core.length }, (_, i) => bee.core.has(i)))).map(Number).join('')
  note(await bee.clearUnlinked({ gte: 30, lt: 40 }), await present())
  note(await bee.clearUnlinked(), await present(), await collect(bee.createReadStream()))
  await bee.put('new', 'x')
  note(await bee.clearUnlinked({ gte: 60 }), await present(), await collect(bee.createReadStream()))
  note(await bee.clearUnlinked({ lt: 0 }))
})
