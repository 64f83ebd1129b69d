// Programs in the manner of upstream's own suite: what keeps stores of cores in order.

import { eventually, outcome } from './support/both.mjs'
import { sameWithBothStores } from './support/stores.mjs'

const seed = (byte) => Buffer.alloc(32, byte)
const unsafe = (primaryKey = seed(1)) => ({ primaryKey, unsafe: true })
const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds))

sameWithBothStores('suspending and resuming', async ({ create, note }) => {
  const store = create(null, unsafe())
  const core = store.get({ name: 'a' })
  await core.append('before')
  const log = []
  note(await outcome(store.suspend({ log: (line) => { log.push(line) } })), log.length > 1, log[0], log.at(-1))
  let isDone = false
  const appending = core.append('while').then((value) => { isDone = true; return value })
  await sleep(50)
  note(isDone)
  note(await outcome(store.resume()), await appending, await core.get(1))
  await store.suspend()
  await store.resume()
  await store.resume()
  note(await core.append('after'))
  const never = create(null, { ...unsafe(), suspend: false })
  await never.ready()
  note(await outcome(never.suspend()), never.shouldSuspend)
  await store.namespace('x').suspend()
  await store.namespace('x').resume()
  note(await core.append('more'))
})

sameWithBothStores('closing while suspended', async ({ create, note }) => {
  const store = create(null, unsafe())
  await store.get({ name: 'a' }).append('x')
  await store.suspend()
  await store.resume()
  note(await outcome(store.close()), store.closed)
})

sameWithBothStores('auditing every core', async ({ create, note }) => {
  const store = create(null, unsafe())
  for (const name of ['a', 'b', 'c']) {
    const core = store.get({ name })
    await core.append([name, name])
    if (name !== 'c') await core.close()
  }
  for (const options of [undefined, { dryRun: true }]) {
    const found = []
    for await (const { discoveryKey, key, audit } of store.audit(options)) found.push([discoveryKey, key, audit.droppedBlocks, audit.droppedBits])
    note(found)
  }
  note(store.sessions.size)
})

sameWithBothStores('a static core of what another one has', async ({ create, note, replicate, Hypercore }) => {
  const store = create(null, unsafe())
  const core = store.get({ name: 'a' })
  await core.append(['a', 'b', 'c'])
  const copy = await store.staticify(core)
  note(copy.key, copy.length, copy.writable, copy.manifest, await copy.get(0), await copy.get(2), copy.byteLength, copy.contiguousLength)
  note(await outcome(copy.append('d')))
  note((await outcome(store.staticify(store.get({ name: 'empty' })))))
  const other = create(null, unsafe(seed(2)))
  replicate(store, other)
  const there = other.get(copy.key)
  note(await there.get(1), there.length)
})

sameWithBothStores('sessions of sessions', async ({ create, note }) => {
  const store = create(null, unsafe())
  const core = store.get({ name: 'a' })
  await core.append('x')
  const session = core.session()
  const snapshot = core.snapshot()
  const weak = core.session({ weak: true })
  await Promise.all([session.ready(), snapshot.ready(), weak.ready()])
  note(core.sessions.length, session.sessions === core.sessions, [...store.sessions].length)
  const sub = store.session()
  const elsewhere = sub.get({ name: 'a' })
  await elsewhere.ready()
  note(elsewhere.sessions === core.sessions, sub.sessions.size, elsewhere.core === core.core)
  await core.close()
  note(session.closed, session.length, await session.get(0), core.core.closed)
  await sub.close()
  note(elsewhere.closed, session.closed, store.sessions.size)
  await store.close()
  note(session.closed, snapshot.closed, weak.closed)
})

sameWithBothStores('two names, two branches, one store', async ({ create, note, folder }) => {
  const path = folder()
  let store = create(path, unsafe())
  let core = store.get({ name: 'a' })
  await core.append('main')
  const branch = core.session({ name: 'branch' })
  await branch.append(['x', 'y'])
  note(core.length, branch.length, await branch.get(1))
  await store.close()
  store = create(path)
  core = store.get({ name: 'a' })
  await core.ready()
  const again = core.session({ name: 'branch' })
  await again.ready()
  note(again.length, core.length, await again.get(2))
  const atom = store.storage.createAtom()
  const one = core.session({ atom })
  const other = store.get({ name: 'b' })
  await other.ready()
  const two = other.session({ atom })
  await one.append('1')
  await two.append('2')
  note(core.length, other.length)
  await atom.flush()
  note(core.length, other.length)
})

sameWithBothStores('opening what is closing', async ({ create, note }) => {
  const store = create(null, unsafe())
  const core = store.get({ name: 'a' })
  await core.append('x')
  await core.close()
  const inner = core.core
  const closing = inner.close()
  const again = store.get({ name: 'a' })
  await again.ready()
  await closing
  note(again.core === inner, again.length, await again.get(0), inner.closed)
})

sameWithBothStores('namespaces of a store that is not open', async ({ create, note, folder }) => {
  const path = folder()
  const store = create(path, unsafe())
  const core = store.namespace('a').namespace('b').get({ name: 'c' })
  await core.append('x')
  note(core.key, store.opened)
  await eventually(() => store.opened)
  const pair = store.get({ name: 'd', keyPair: undefined, encryption: null, valueEncoding: null })
  await pair.ready()
  note(pair.key, pair.writable)
})

sameWithBothStores('overwriting and forcing', async ({ create, note }) => {
  const store = create(null, unsafe())
  const core = store.get({ name: 'a' })
  await core.append(['a', 'b'])
  await core.close()
  await core.core.close()
  const fresh = store.get({ name: 'a', overwrite: true })
  await fresh.ready()
  note(fresh.length, fresh.key, fresh.writable)
})

sameWithBothStores('names of every kind', async ({ create, note }) => {
  const store = create(null, unsafe())
  for (const name of ['é', 'a/b', 'x'.repeat(300), 'nul\0', ' ']) {
    const core = store.get({ name })
    await core.ready()
    note(core.key, await store.storage.getAlias({ name, namespace: store.ns }))
  }
  note(await outcome(Promise.resolve().then(() => store.get({ name: '' }))))
  const bytes = store.get({ name: 'bytes' })
  await bytes.ready()
  note(bytes.key)
})
