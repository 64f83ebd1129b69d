// What programs see of a bee at its edges: what is not there, what is closed, what is no key, and what reads leave behind.

import b4a from 'b4a'
import c from 'compact-encoding'

import { outcome, outcomeOf } from './support/both.mjs'
import { collect, sameBees } from './support/bees.mjs'

const text = { keyEncoding: 'utf-8', valueEncoding: 'utf-8' }
const letters = 'abcdefghijklmnopqrstuvwxyz'.split('')
const keyPair = {
  publicKey: Buffer.from('8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c', 'hex'),
  secretKey: Buffer.from('01'.repeat(32) + '8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c', 'hex')
}
/** What a call comes to. Every engine has its own words for text that is no JSON. */
const said = async (call) => {
  const { value, error } = await outcomeOf(call)
  return error ? error.name : value ?? null
}
const delay = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds))

sameBees('everything that a closed bee says', async ({ create, Hyperbee, note }) => {
  const bee = new Hyperbee(await create({ keyPair }), text)
  for (const letter of letters) await bee.put(letter, letter)
  const view = bee.snapshot()
  await view.ready()
  const batch = bee.batch()
  await batch.ready()
  await bee.close()
  for (const closed of [bee, bee.sub('s')]) {
    note(closed.version, closed.key !== null, closed.writable, closed.readable, closed.closed, closed.opened)
    for (const call of [
      (bee) => bee.get('a'), (bee) => bee.getBySeq(1), (bee) => bee.put('a', 'b'), (bee) => bee.del('a'), (bee) => bee.peek(), (bee) => collect(bee.createReadStream()), (bee) => collect(bee.createHistoryStream()),
      (bee) => collect(bee.createDiffStream(1)), (bee) => bee.checkout(1).ready(), (bee) => bee.snapshot().ready(), (bee) => bee.getHeader(), (bee) => bee.clearUnlinked(), (bee) => bee.update()
    ]) note(await outcomeOf(() => call(closed)))
  }
  note(await outcomeOf(() => bee.watch().ready()), await outcomeOf(() => bee.getAndWatch('a')), await outcome(bee.close()), await outcome(bee.ready()))
  note(await outcome(batch.get('a')), await outcome(batch.put('a', 'b')), await outcome(batch.flush()), await outcome(batch.close()))
  note(await view.get('a'), view.closed)
  await view.close()
  note(view.version, await outcomeOf(() => view.get('a')), await outcomeOf(() => collect(view.createReadStream())))
})

sameBees('blocks that are not here', async ({ create, Hyperbee, note }) => {
  const writer = new Hyperbee(await create({ keyPair }), text)
  for (let i = 0; i < 60; i++) await writer.put(`k${i}`, `v${i}`)
  await writer.core.clear(0, 30)
  const bee = new Hyperbee(writer.core.session(), text)
  for (const call of [
    (options) => bee.get('k1', options), (options) => bee.getBySeq(3, options), (options) => bee.peek({ gt: 'k1' }, options), (options) => collect(bee.createReadStream({}, options)), (options) => collect(bee.createReadStream(options)),
    (options) => collect(bee.createReadStream({ reverse: true }, options)), (options) => collect(bee.createHistoryStream(options)), (options) => collect(bee.createDiffStream(20, {}, options)),
    (options) => bee.batch(options).get('k1'), (options) => bee.checkout(20).get('k1', options)
  ]) note(await outcome(call({ wait: false })), await outcome(call({ timeout: 5 })))
  note(await outcome(bee.getHeader({ wait: false })), await outcome(bee.getHeader({ timeout: 5 })), await outcome(Hyperbee.isHyperbee(bee.core, { wait: false })))
  const waits = []
  note(await outcome(bee.get('k1', { timeout: 20, onwait: (seq) => waits.push(seq) })), waits)
  await bee.close()
})

sameBees('each read that waits as its bee closes', async ({ create, Hyperbee, note }) => {
  const reads = [
    (bee) => bee.get('x'), (bee) => collect(bee.createReadStream()), (bee) => bee.getBySeq(3), (bee) => bee.getHeader(), (bee) => collect(bee.createHistoryStream()), (bee) => collect(bee.createDiffStream(3)),
    (bee) => bee.peek(), (bee) => bee.batch().get('x')
  ]
  for (const [index, read] of reads.entries()) {
    const bee = new Hyperbee(await create(Buffer.alloc(32, 1)), text)
    const view = bee.checkout(10)
    await view.ready()
    const result = outcomeOf(() => read(view))
    await delay(10)
    await view.close()
    // Which of two names its error has is a matter of how far it came.
    note(index, (await result).error?.name)
    await bee.close()
  }
})

sameBees('batches that wait, are dropped, used again or closed with their bee', async ({ createBee, note }) => {
  const bee = await createBee(text)
  const seen = []
  const first = bee.batch()
  await first.put('a', '1')
  const second = bee.batch()
  const waiting = second.put('b', '2').then(() => seen.push('second'))
  await delay(10)
  note(seen, first.locked !== null, second.locked)
  await first.close()
  await waiting
  note(seen, first.locked, second.locked !== null, first.length)
  note(await outcome(second.flush()), await bee.get('a'), await bee.get('b'), bee._batches.length)
  const dropped = bee.batch()
  await dropped.put('x', '1')
  dropped.destroy()
  await bee.put('y', '1')
  note(await bee.get('x'), bee._batches.length)
  await dropped.put('z', '1')
  await dropped.flush()
  note(await bee.get('z'), bee.version, await bee.get('x'))
  const open = bee.batch()
  await open.put('c', '1')
  const put = outcome(bee.put('d', '1'))
  await bee.close()
  note((await put).error?.code, (await outcome(open.put('d', '1'))).error?.code, (await outcome(open.flush())).error?.code, open.locked)
})

sameBees('what is no key, and what is no value', async ({ createBee, note }) => {
  for (const options of [{}, text, { keyEncoding: 'binary', valueEncoding: 'binary' }]) {
    for (const key of [0, 7, true, {}, [1]]) {
      const bee = await createBee(options)
      note(Object.values(options), key, (await outcomeOf(() => bee.put(key, 'v'))).error?.name, bee.core.length, (await outcomeOf(() => bee.get(key))).error?.name)
    }
    const empty = await createBee(options)
    note(await outcomeOf(() => empty.get(undefined)), await outcomeOf(() => empty.get(null)), await outcomeOf(() => empty.get('')), await outcomeOf(() => empty.del(null)))
    for (const value of [0, true, {}, [1], undefined, null, '', false, b4a.alloc(0)]) {
      const bee = await createBee(options)
      note(Object.values(options), value, (await outcomeOf(() => bee.put('k', value))).error?.name, bee.core.length, (await outcome(bee.get('k'))).value)
    }
  }
})

sameBees('keys and values as they are stored', async ({ createBee, note }) => {
  const bee = await createBee(text)
  await bee.put('a', 'b')
  await bee.put('c', null)
  const batch = bee.batch()
  for (const key of ['a', 'c', 'none']) {
    const node = await batch.get(key, { finalize: false })
    note(node && [node.seq, node.key, node.value])
  }
  await batch.close()
})

sameBees('events, and who listens to the core', async ({ create, Hyperbee, note }) => {
  const core = await create()
  const seen = []
  core.on('append', () => seen.push(['append', core.length]))
  core.on('truncate', (length, fork) => seen.push(['truncate', length, fork]))
  core.on('close', () => seen.push(['core closed']))
  const bee = new Hyperbee(core, text)
  bee.on('ready', () => seen.push(['ready']))
  bee.on('close', () => seen.push(['closed']))
  await bee.put('a', 'b')
  const batch = bee.batch()
  for (const letter of letters) await batch.put(letter, letter)
  await batch.flush()
  await core.truncate(3)
  note(core.listenerCount('append'), core.listenerCount('truncate'))
  await bee.close()
  note(seen, core.listenerCount('append'), core.listenerCount('truncate'))
})

sameBees('streams and what they leave', async ({ createBee, note }) => {
  const bee = await createBee(text)
  for (const letter of letters) await bee.put(letter, letter)
  const flowing = bee.createReadStream()
  const events = []
  for (const name of ['open', 'data', 'readable', 'end', 'close', 'error']) flowing.on(name, (data) => events.push([name, data?.key]))
  await new Promise((resolve) => flowing.on('close', resolve))
  note(events)
  const paused = bee.createReadStream({ limit: 3 })
  await new Promise((resolve) => paused.once('readable', resolve))
  await delay(20)
  note(paused.read()?.key, paused.read()?.key, paused.read()?.key, paused.read())
  const abort = new AbortController()
  abort.abort()
  const { signal } = abort
  note(await outcomeOf(() => collect(bee.createReadStream({}, { signal }))), await outcomeOf(() => collect(bee.createHistoryStream({ signal }))), await outcomeOf(() => collect(bee.createDiffStream(1, {}, { signal }))))
  const left = bee.createReadStream()[Symbol.asyncIterator]()
  note((await left.next()).value.key, await left.return(), await outcome(left.next()))
  const failed = bee.createReadStream()[Symbol.asyncIterator]()
  note((await failed.next()).value.key, await outcome(failed.throw(new Error('x'))))
  const { _readableState: state, destroyed, destroying, readable } = bee.createReadStream()
  note(state.highWaterMark, destroyed, destroying, readable)
  await delay(20)
  note(bee._batches.length, bee.core.sessions.length)
})

sameBees('properties of views', async ({ createBee, note }) => {
  const bee = await createBee({ ...text, metadata: { contentFeed: null, userData: 'x' } })
  for (const letter of letters) await bee.put(letter, letter)
  const views = [bee.checkout(5), bee.snapshot(), bee.sub('x'), bee.sub('x').checkout(3), bee.checkout(4).sub('x'), bee.snapshot().snapshot()]
  for (const view of views) {
    note(view.opened, view._checkout, view.version, view.readonly, view.metadata, view.prefix, view.sep, view.alwaysDuplicate, view.extension === bee.extension, view.lock === bee.lock, view.core === bee.core, view.keyEncoding?.name, view.valueEncoding?.name)
    await view.ready()
    note(view.version, view._checkout, view.writable, view.core.writable, view.core.snapshotted)
    if (view.core !== bee.core) await view.close()
  }
  const part = bee.sub('p')
  await part.put('a', '1')
  await part.put('b', '2')
  note(await collect(part.createDiffStream(bee.version - 1)), await collect(part.createHistoryStream({ gte: -2 })), await collect(part.createReadStream({ lte: 'a' })), await part.peek({ reverse: true }))
  note(await part.sub(b4a.from('q')).get('a'), await outcomeOf(() => bee.sub('p', { keyEncoding: 'json' }).get('a')))
  await part.close()
  note(bee.core.closed, bee.closed)
})

sameBees('blocks by number', async ({ createBee, note }) => {
  const bee = await createBee(text)
  await bee.put('a', 'b')
  await bee.del('a')
  note(await outcome(bee.getBySeq(1)), await outcome(bee.getBySeq(2)), (await outcome(bee.getBySeq(0))).error?.name, (await outcome(bee.getBySeq(7, { wait: false }))).error?.code, (await outcome(bee.getBySeq(7, { timeout: 5 }))).error?.code)
})

sameBees('iterators from their first step to behind their range, and gone on with from anywhere', async ({ createBee, note }) => {
  const bee = await createBee(text)
  for (const letter of letters) await bee.put(letter, letter)
  for (const options of [{}, { gt: 'c' }, { gte: 'c', lt: 'k' }, { lte: 'c', reverse: true }, { limit: 2 }, { gt: 'zz' }, { lt: 'a' }, { gt: 'm', lt: 'c' }]) {
    const iterator = bee.createRangeIterator(options)
    note(iterator.opened)
    await iterator.open()
    for (let entry = await iterator.next(), i = 0; i < 30; i++) {
      const { version, gt, gte, lt, lte, limit, reverse, ended, checkpoint } = iterator.snapshot()
      note(entry, version, gt, gte, lt, lte, limit, reverse, ended, checkpoint)
      if (entry === null) break
      entry = await iterator.next()
    }
    note(await iterator.next(), await outcome(iterator.close()), await outcome(iterator.close()), bee._batches.length)
  }
  for (const reverse of [false, true]) {
    for (let stop = 0; stop < 27; stop += 2) {
      const iterator = bee.createRangeIterator({ gte: 'b', lte: 'x', reverse })
      await iterator.open()
      for (let i = 0; i < stop; i++) await iterator.next()
      const { checkpoint, ended } = iterator.snapshot()
      await iterator.close()
      note(stop, ended, (await collect(bee.createReadStream({ gte: 'b', lte: 'x', reverse, checkpoint }))).map((entry) => entry.key).join(''))
    }
  }
})

sameBees('batches that are read while they change', async ({ createBee, note }) => {
  const bee = await createBee(text)
  for (const letter of letters.slice(0, 13)) await bee.put(letter, letter)
  const batch = bee.batch()
  for (const letter of letters) await batch.put(letter, letter + letter)
  note(await collect(batch.createReadStream()), await collect(batch.createReadStream({ reverse: true, limit: 4 })), await batch.peek({ gte: 'm' }, { reverse: true }))
  const iterator = batch.createRangeIterator({ gt: 'c' })
  await iterator.open()
  note(await iterator.next())
  await batch.del('d')
  await batch.put('dd', 'x')
  await iterator.close()
  note(await collect(batch.createReadStream({ gte: 'b', lt: 'g' })), await batch.get('dd'), await batch.getBySeq(3), await batch.getBySeq(batch.version - 1), batch.version)
  await batch.flush()
  note(await collect(bee.createReadStream({ gte: 'b', lt: 'g' })))
})

sameBees('one large batch, large keys and values', async ({ createBee, note }) => {
  const bee = await createBee({ keyEncoding: 'utf-8', valueEncoding: 'binary' })
  const batch = bee.batch()
  for (let i = 0; i < 3000; i++) await batch.put(`key-${(i * 7919) % 3000}`, b4a.alloc(i % 40, i))
  note(batch.length, batch.version)
  await batch.flush()
  note(bee.version, bee.core.byteLength)
  await bee.put('large', b4a.alloc(3_000_000, 1))
  await bee.put('k'.repeat(100_000), 'x')
  note((await bee.get('large')).value.byteLength, (await bee.get('k'.repeat(100_000))).seq)
  const gone = bee.batch()
  for (let i = 0; i < 3000; i += 2) await gone.del(`key-${i}`)
  await gone.flush()
  note(bee.version, bee.core.byteLength, (await collect(bee.createReadStream())).length, (await collect(bee.createDiffStream(3001))).length)
})

sameBees('parts of every encoding', async ({ createBee, note }) => {
  for (const options of [{}, text, { keyEncoding: c.uint32, valueEncoding: c.json }, { keyEncoding: 'json', valueEncoding: 'json' }]) {
    const bee = await createBee(options)
    const key = options.keyEncoding === c.uint32 ? 5 : 'k'
    const part = bee.sub('p')
    const parts = [bee, part, part.sub('q', text), bee.sub('p', { sep: '--', ...text }), bee.sub(''), bee.sub('p\0q', { sep: b4a.alloc(0) })]
    for (const [i, each] of parts.slice(0, 5).entries()) note(await outcome(each.put(i === 2 || i === 3 ? 'k' : key, 'v')))
    for (const each of parts) {
      note(each.prefix, each.sep, each.version)
      for (const call of [() => collect(each.createReadStream()), () => collect(each.createReadStream({ reverse: true, limit: 1 })), () => each.peek(), () => collect(each.createHistoryStream()), () => collect(each.createDiffStream(2))]) note(await said(call))
    }
    for (const call of [() => part.getHeader(), () => part.checkout(2).get(key), () => part.snapshot().get(key), () => part.batch().get(key), () => part.getBySeq(2)]) note(await said(call))
    const batch = part.batch()
    for (const call of [() => batch.put(key, 'w'), () => batch.get(key), () => collect(batch.createReadStream()), () => batch.flush(), () => part.get(key), () => part.del(key), () => part.get(key)]) note(await said(call))
  }
})

sameBees('histories that go on, and end with their bee', async ({ createBee, note }) => {
  const bee = await createBee(text)
  for (const letter of letters) await bee.put(letter, letter)
  const view = bee.checkout(10)
  note(await collect(view.createHistoryStream()), await collect(view.createHistoryStream({ reverse: true, limit: 2 })))
  const some = collect(bee.createHistoryStream({ live: true, gt: -1, limit: 3 }))
  await delay(10)
  for (const key of ['1', '2', '3', '4']) await bee.put(key, key)
  note(await some)
  const destroyed = bee.createHistoryStream({ live: true, gt: -1 })
  destroyed.on('error', () => {})
  destroyed.resume()
  await delay(10)
  destroyed.destroy()
  await new Promise((resolve) => destroyed.on('close', resolve))
  note(bee._batches.length)
  const last = outcome(collect(bee.createHistoryStream({ live: true, gt: -1 })))
  await delay(10)
  await bee.close()
  note((await last).error?.name)
})

sameBees('what is kept of blocks, in memory of its own', async ({ createBee, note }) => {
  const bee = await createBee(text)
  for (const letter of letters) await bee.put(letter, letter + letter)
  await collect(bee.createReadStream())
  for (const seq of [5, 9]) {
    const [key, node] = [bee._keyCache.get(seq), bee._nodeCache.get(seq)]
    note(seq, key, node.key, node.value, key.buffer.byteLength < 500, node.key.buffer.byteLength < 500, node.key.buffer === node.value.buffer)
  }
  const bytes = { keyEncoding: 'binary', valueEncoding: 'binary' }
  for (const entry of [await bee.get(b4a.from('c'), bytes), ...await collect(bee.createReadStream(bytes)), ...await collect(bee.createHistoryStream({ ...bytes, limit: 2 }))]) {
    note(entry, entry.key.buffer === entry.value.buffer, entry.key.buffer.byteLength < 100, entry.value.buffer.byteLength < 100)
  }
  note(bee._keyCache.get(100), bee._nodeCache.get(100))
  await bee.core.truncate(6)
  note(bee._keyCache.get(9), bee._nodeCache.get(9))
})

sameBees('an extension of the program\'s own is asked', async ({ create, Hyperbee, note }) => {
  const writer = new Hyperbee(await create({ keyPair }), text)
  for (let i = 0; i < 60; i++) await writer.put(`k${i}`, `v${i}`)
  await writer.core.clear(0, 40)
  const asked = []
  const extension = {
    get: (version, key) => { asked.push(['get', version, key]) },
    iterator: ({ version, gt, gte, lt, lte, limit, reverse }) => { asked.push(['iterator', version, gt, gte, lt, lte, limit, reverse]) }
  }
  const bee = new Hyperbee(writer.core.session(), { ...text, extension })
  note(bee.extension === extension, bee.sub('x').extension === extension)
  for (const call of [() => bee.get('k1', { timeout: 5 }), () => bee.peek({ gt: 'k1' }, { timeout: 5 }), () => collect(bee.createReadStream({ gte: 'k2', lt: 'k5', reverse: true, limit: 7 }, { timeout: 5 }))]) note((await outcomeOf(call)).error?.code, asked.splice(0))
  for (const call of [() => bee.get('k1', { timeout: 5, extension: false }), () => collect(bee.createReadStream({}, { timeout: 5, extension: false }))]) note((await outcomeOf(call)).error?.code, asked.splice(0))
  await bee.close()
})

sameBees('a batch is read on after its blocks were asked for', async ({ createBee, note }) => {
  const bee = await createBee(text)
  await bee.put('a', '1')
  const batch = bee.batch()
  for (const [key, value] of [['b', '2'], ['c', '3'], ['b', '4']]) await batch.put(key, value)
  await batch.del('a')
  const blocks = batch.toBlocks()
  note(blocks, batch.toBlocks() === blocks, batch.length, batch.version)
  note(await batch.get('a'), await batch.get('b'), await batch.peek(), await collect(batch.createReadStream()), (await batch.getRoot(false)).keys.length)
  await batch.flush()
  note(batch.toBlocks() === blocks, batch.length)
  note(bee.version, await collect(bee.createReadStream()), await Promise.all([2, 3, 4, 5].map((seq) => bee.core.get(seq))))
})

sameBees('positions and limits that are none', async ({ create, Hyperbee, note }) => {
  const bee = new Hyperbee(await create({ keyPair }), text)
  for (const letter of letters) await bee.put(letter, letter)
  for (const seq of [null, '', [], false, -1, NaN, 1.5]) note(await outcomeOf(() => bee.getBySeq(seq)))
  for (const limit of [1.5, 0.5, -5, 'x']) note((await collect(bee.createReadStream({ limit }))).length)
  const fresh = await create()
  note(await outcomeOf(() => new Hyperbee(fresh, text).put(null, 'x')))
  await bee.clearUnlinked()
  const view = bee.snapshot()
  note(await outcomeOf(() => view.clearUnlinked()))
  await view.close()
})

sameBees('a walk that goes on over what was cut leaves nothing of it to other reads', async ({ create, Hyperbee, note }) => {
  const core = await create({ keyPair })
  const fill = async (bee, from, to, value) => {
    const batch = bee.batch()
    for (let i = from; i < to; i++) await batch.put(`k${i}`, value)
    await batch.flush()
  }
  const writer = new Hyperbee(core.session(), text)
  await fill(writer, 0, 100, 'kept')
  const length = writer.core.length
  await fill(writer, 100, 400, 'cut')
  // It has read nothing yet.
  const bee = new Hyperbee(core, text)
  const walk = bee.createReadStream()[Symbol.asyncIterator]()
  note((await walk.next()).value)
  await core.truncate(length)
  await fill(bee, 400, 700, 'new')
  await outcome((async () => { while (!(await walk.next()).done); })())
  const values = (await collect(bee.createReadStream())).map((entry) => entry.value)
  note(values.length, values.filter((value) => value === 'kept').length, values.filter((value) => value === 'new').length)
  note(await Promise.all([50, 150, 450, 650].map((i) => bee.get(`k${i}`))))
  await writer.close()
})
