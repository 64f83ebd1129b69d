// Random programs as Autobase's: a branch that is written in atoms, committed, caught up and moved to the next log, with upstream's
// stores and with ours. Every answer and event is the same.
//
// HYPERTAB_SEED begins with other programs, and HYPERTAB_RANDOM is how many there are.

import test from 'node:test'

import Corestore from 'corestore'
import HypertabStore from 'hypertab/corestore'

import { defer } from './support/cleanup.mjs'
import { plain } from './support/both.mjs'
import { temporaryFolder } from './support/folder.mjs'
import { assertSameNotes, differenceOf } from './support/notes.mjs'
import { randomOf } from './support/torn-file.mjs'

const SEED = Number(process.env.HYPERTAB_SEED ?? 1)
const COUNT = Number(process.env.HYPERTAB_RANDOM ?? 15)
const STEPS = 40

for (let seed = SEED; seed < SEED + COUNT; seed++) {
  test(`program ${seed}`, async (t) => {
    const expected = await play(t, Corestore, seed)
    const found = await play(t, HypertabStore, seed)
    const at = differenceOf(expected, found)
    // Upstream takes the roots of the log for those of a branch that is found again when both are equally long.
    if (at !== -1 && expected[at - 2]?.[1] === 'reopen' && expected[at][1] === expected[at - 1][1]) return
    assertSameNotes(expected, found, `HYPERTAB_SEED=${seed}`, at)
  })
}

async function play (t, Corestore, seed) {
  const below = randomOf(seed)
  const notes = []
  const folder = temporaryFolder(t)
  let store = new Corestore(folder, { primaryKey: Buffer.alloc(32, 1), unsafe: true })
  defer(t, () => store.close())
  let core = store.get({ name: 'log' })
  await core.ready()
  const { keyPair } = core
  let batch, view, atom, inAtom
  let [blocks, generations] = [0, 0]
  const some = () => Array.from({ length: 1 + below(3) }, () => `b${blocks++}`)

  const watch = (session, name) => {
    for (const event of ['append', 'truncate', 'migrate']) session.on(event, (...args) => { notes.push([name, event, ...args.map(plain), session.length]) })
  }
  const openBatch = async () => {
    batch = core.session({ name: 'batch', writable: true })
    view = batch.session({ writable: false })
    await view.ready()
    for (const [session, name] of [[batch, 'batch'], [view, 'view'], [core, 'core']]) watch(session, name)
  }
  const openAtom = async () => {
    atom = store.storage.createAtom()
    inAtom = batch.session({ atom, writable: true })
    await inAtom.ready()
    watch(inAtom, 'atom')
  }
  const closeAtom = async () => {
    while (inAtom.state?.sessions.length) await inAtom.state.sessions[0].close()
    await inAtom.close()
  }
  const texts = async (session) => {
    const texts = []
    for (let i = 0; i < session.length; i++) texts.push((await session.get(i, { wait: false }).catch(({ code }) => code))?.toString() ?? null)
    return texts
  }
  const migrate = async () => {
    const { length } = core
    const prologue = { hash: await inAtom.treeHash(length), length }
    const signers = [{ signature: 'ed25519', namespace: Buffer.alloc(32, ++generations), publicKey: keyPair.publicKey }]
    const next = store.get({ manifest: { version: 1, hash: 'blake2b', allowPatch: true, quorum: 1, signers, prologue, userData: null }, exclusive: false })
    await next.ready()
    await next.core.copyPrologue(inAtom.state)
    const branch = next.session({ name: 'batch', overwrite: true, checkout: length })
    await branch.ready()
    while (branch.length < inAtom.length) await branch.append(await inAtom.get(branch.length))
    notes.push(['next', next.length, branch.length, await texts(next), await texts(branch)])
    await atom.flush()
    await closeAtom()
    await batch.state.moveTo(branch, branch.length)
    core = next
    watch(core, 'core')
    await openAtom()
  }

  const steps = {
    append: [6, async () => { await inAtom.append(some()) }],
    truncate: [2, async () => {
      const { signedLength, length, fork } = inAtom
      const to = signedLength + below(length - signedLength + 1)
      if (to < length) await inAtom.truncate(to, fork + 1)
    }],
    commit: [3, async () => {
      const more = inAtom.length - core.length
      return more > 0 ? await core.commit(inAtom, { length: core.length + 1 + below(more), keyPair }) : null
    }],
    flush: [4, async () => {
      await atom.flush()
      if (below(3) === 0) return
      await closeAtom()
      await openAtom()
    }],
    // Only where nobody has gone another way.
    appendToLog: [1, async () => { if (inAtom.signedLength === core.length && inAtom.length === core.length) await core.append(some(), { keyPair }) }],
    catchup: [2, async () => {
      await closeAtom()
      await openAtom()
      await inAtom.state.catchup(core.length)
      await atom.flush()
    }],
    migrate: [1, async () => { if (core.length > 0 && inAtom.signedLength >= core.length) await migrate() }],
    reopen: [1, async () => {
      const { key } = core
      await closeAtom()
      await store.close()
      store = new Corestore(folder)
      core = store.get({ key })
      await core.ready()
      await openBatch()
      await openAtom()
    }]
  }
  const total = Object.values(steps).reduce((sum, [weight]) => sum + weight, 0)
  await openBatch()
  await openAtom()
  for (let step = 0; step < STEPS; step++) {
    let draw = below(total)
    const [name, [, run]] = Object.entries(steps).find(([, [weight]]) => (draw -= weight) < 0)
    const outcome = await run().then((value) => plain(value ?? null), ({ code, message }) => code ?? message)
    notes.push([step, name, outcome])
    for (const [name, session] of Object.entries({ core, batch, view, inAtom })) {
      notes.push([name, session.length, session.byteLength, session.fork, session.signedLength, await texts(session)])
    }
  }
  return notes
}
