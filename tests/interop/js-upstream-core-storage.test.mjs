// What programs see of the storage behind a core: snapshots of it, and branches that are made and found there.

import { outcome, sameWithBoth } from './support/both.mjs'

const read = async (storage, ...ask) => {
  const rx = storage.read()
  const values = ask.map((get) => get(rx))
  rx.tryFlush()
  return await Promise.all(values)
}

const head = async (storage) => {
  const [head] = await read(storage, (rx) => rx.getHead())
  return head && [head.fork, head.length, head.rootHash, head.signature?.byteLength ?? null]
}

const blocks = async (storage, count) => await read(storage, ...Array.from({ length: count }, (_, index) => (rx) => rx.getBlock(index)))

sameWithBoth('the state of a snapshot', async ({ create, note }) => {
  const core = await create()
  await core.append(['a', 'b', 'c'])
  const snapshot = core.snapshot()
  await snapshot.ready()
  const show = () => {
    const { state } = snapshot
    note(state !== core.state, state.isSnapshot(), state.isDefault(), state.storage.snapshotted, core.state.isSnapshot(), core.state.storage.snapshotted)
    note(state.length, state.byteLength, state.fork, state.name, state.parent, state.snapshotCompatLength, state.flushedLength(), state.signedLength())
    note(state.hash(), state.roots, state.signature?.byteLength)
    note(snapshot.signedLength, core.state.length, core.state.signedLength())
  }
  show()
  await core.append('d')
  show()
  await core.truncate(1)
  show()
  await core.append(['e', 'f'])
  show()
  const nested = snapshot.snapshot()
  await nested.ready()
  note(nested.state === snapshot.state, nested.state.length, nested.state.snapshotCompatLength)
  const session = snapshot.session()
  await session.ready()
  note(session.state.length, session.state.isSnapshot())
  await session.close()
  await nested.close()
  await snapshot.close()
  note(await core.get(1))
})

sameWithBoth('the state of a snapshot of a branch', async ({ create, note }) => {
  const core = await create()
  await core.append(['a', 'b'])
  const branch = core.session({ name: 'branch' })
  await branch.append(['c', 'd'])
  const snapshot = branch.snapshot()
  await snapshot.ready()
  const { state } = snapshot
  note(state.isSnapshot(), state.isDefault(), state.name, state.length, state.byteLength, state.fork)
  await branch.truncate(3)
  note(state.length, state.fork, await snapshot.get(2), branch.length)
  await core.truncate(1)
  note(state.length, core.length, branch.length)
  await snapshot.close()
  await branch.close()
})

sameWithBoth('a snapshot of storage shows what was there', async ({ create, note }) => {
  const core = await create()
  await core.append(['a', 'b', 'c'])
  const storage = core.state.storage.snapshot()
  note(storage.snapshotted, core.state.storage.snapshotted, storage !== core.state.storage)
  await core.append('d')
  note(await head(storage), await blocks(storage, 4))
  note(await head(core.state.storage), await blocks(core.state.storage, 4))
  await core.truncate(1)
  note(await head(storage), await blocks(storage, 3))
  const listed = []
  for await (const { index, value } of storage.createBlockStream({ gte: 0, lt: 3 })) listed.push([index, value])
  note(listed)
  await storage.close()
  note(await core.get(0))
})

sameWithBoth('a state is asked for a snapshot', async ({ create, note }) => {
  const core = await create()
  await core.append(['a', 'b'])
  const state = await core.state.snapshot()
  note(state.isSnapshot(), state.length, state.snapshotCompatLength, state.treeInfo().length)
  await core.truncate(1)
  note(state.length, state.snapshotCompatLength, await blocks(state.storage, 2))
  state.unref()
})

sameWithBoth('a branch is made where the log is stored', async ({ create, note }) => {
  const core = await create()
  await core.append(['a', 'b', 'c'])
  const { storage } = core.state
  note(await storage.resumeSession('made'))
  const made = await storage.createSession('made', null)
  note(await head(made), made.getDependencyLength(), made.snapshotted)
  await made.close()
  const [stored] = await read(storage, (rx) => rx.getHead())
  note(await outcome(storage.createSession('made', { ...stored, length: 4 })))
  const session = core.session({ name: 'made' })
  await session.ready()
  note(session.length, await session.get(2))
  await session.append('d')
  note(session.length, core.length)
  await session.close()
})
