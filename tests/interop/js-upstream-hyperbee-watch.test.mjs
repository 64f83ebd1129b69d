// Programs in the manner of upstream's own suite: bees that are followed.

import { eventually, outcome } from './support/both.mjs'
import { collect, sameBees } from './support/bees.mjs'

const text = { keyEncoding: 'utf-8', valueEncoding: 'utf-8' }

sameBees('a range that is followed', async ({ createBee, note }) => {
  const bee = await createBee(text)
  const watcher = bee.watch({ gte: 'b', lt: 'd' })
  note(watcher.constructor.name, watcher.bee === bee, watcher.opened)
  await watcher.ready()
  setTimeout(async () => { await bee.put('a', '1'); await bee.put('b', '2') }, 5)
  for await (const [current, previous] of watcher) {
    note((await current.get('b'))?.value, await previous.get('b'), current.version > previous.version, current.constructor.name)
    break
  }
  note(watcher.closed)
  const again = bee.watch()
  await bee.put('c', '3')
  const { value: [current, previous], done } = await again.next()
  note(done, (await collect(current.createDiffStream(previous.version))).map(({ left, right }) => [left?.key, right?.key]))
  note(await again.destroy(), await again.next(), await again.return())
})

sameBees('a range that is followed from the start, mapped, with a differ of its own', async ({ createBee, note }) => {
  const bee = await createBee(text)
  await bee.put('a', '1')
  const eager = bee.watch(null, { eager: true })
  const { value: [current, previous] } = await eager.next()
  note(current.version, previous.version, await previous.get('a'))
  await eager.close()
  const closed = []
  const mapped = bee.watch(undefined, { map: (snapshot) => ({ version: snapshot.version, close: async () => { closed.push(snapshot.version) } }) })
  await mapped.ready()
  await bee.put('b', '2')
  const first = (await mapped.next()).value
  await bee.put('c', '2')
  const second = (await mapped.next()).value
  note(first.map(({ version }) => version), second.map(({ version }) => version))
  await mapped.close()
  note(closed)
  const calls = []
  const differ = bee.watch({ gt: 'x' }, { differ: (current, previous, range) => { calls.push(range); return [1] } })
  await differ.ready()
  await bee.put('d', '1')
  note((await differ.next()).done, calls)
  await differ.close()
})

sameBees('listeners and callbacks in the place of a reader', async ({ createBee, note }) => {
  const bee = await createBee(text)
  const watcher = bee.watch()
  let updates = 0
  watcher.on('update', () => { updates++ })
  await watcher.ready()
  await bee.put('a', '1')
  await eventually(() => updates === 1)
  note((await watcher.current.get('a')).value, watcher.previous.version)
  await watcher.close()
  let changes = 0
  const calling = bee.watch(null, { eager: true, onchange: () => { changes++ } })
  await calling.ready()
  await eventually(() => changes >= 2)
  await bee.put('b', '1')
  await eventually(() => changes >= 3)
  note(changes)
  await calling.close()
  note(bee._watchers.length)
})

sameBees('a truncation is a change', async ({ createBee, note }) => {
  const bee = await createBee(text)
  await bee.put('a', '1')
  await bee.put('b', '1')
  const watcher = bee.watch()
  await watcher.ready()
  await bee.core.truncate(2)
  for (const key of ['c', 'd', 'e']) await bee.put(key, '1')
  const { value: [current, previous] } = await watcher.next()
  note(current.core.fork, previous.core.fork, (await collect(current.createReadStream())).map(({ key }) => key))
  await watcher.close()
})

sameBees('a watcher ends with its bee', async ({ createBee, note }) => {
  const bee = await createBee(text)
  const watcher = bee.watch()
  await watcher.ready()
  const next = watcher.next()
  await bee.close()
  note(await next, watcher.closed, await watcher.next())
  note(await outcome(bee.getAndWatch('a')))
})

sameBees('a watcher that fails', async ({ createBee, note }) => {
  const bee = await createBee(text)
  const watcher = bee.watch(null, { differ: () => { throw new Error('no') } })
  await watcher.ready()
  await bee.put('a', '1')
  note(await outcome(watcher.next()), watcher.closed)
})

sameBees('a key that is followed', async ({ createBee, note }) => {
  const bee = await createBee(text)
  const watcher = await bee.getAndWatch('a')
  note(watcher.node, watcher.key, watcher.constructor.name)
  const next = () => new Promise((resolve) => watcher.once('update', () => resolve(watcher.node)))
  let waiting = next()
  await bee.put('a', '1')
  note(await waiting)
  waiting = next()
  await bee.put('b', 'other')
  await bee.put('a', '2')
  note((await waiting).value)
  waiting = next()
  await bee.del('a')
  note(await waiting)
  await bee.put('a', '3')
  await eventually(() => watcher.node?.value === '3')
  waiting = next()
  await bee.core.truncate(3)
  note((await waiting).value)
  await watcher.close()
  note(watcher.closed, bee._entryWatchers.length)
  const encoded = await bee.getAndWatch('61', { keyEncoding: 'hex', valueEncoding: 'hex' })
  note(encoded.node)
  await bee.close()
  note(encoded.closed)
})

sameBees('views cannot be followed', async ({ createBee, note }) => {
  const bee = await createBee(text)
  for (const view of [bee.snapshot(), bee.checkout(1), bee.sub('x')]) {
    note(await outcome((async () => view.watch())()), await outcome(view.getAndWatch('a')))
  }
})
