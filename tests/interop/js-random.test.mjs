// Random programs over a core, its branches, snapshots and atoms, run with upstream's class and with ours: every answer is the same.
//
// HYPERTAB_SEED begins with other programs, and HYPERTAB_RANDOM is how many there are.

import test from 'node:test'

import { defer } from './support/cleanup.mjs'
import { implementations, plain } from './support/both.mjs'
import { temporaryFolder } from './support/folder.mjs'
import { assertSameNotes } from './support/notes.mjs'
import { randomOf } from './support/torn-file.mjs'

const SEED = Number(process.env.HYPERTAB_SEED ?? 1)
const COUNT = Number(process.env.HYPERTAB_RANDOM ?? 25)
const STEPS = 40

for (let seed = SEED; seed < SEED + COUNT; seed++) {
  test(`program ${seed}`, async (t) => {
    const expected = await play(t, implementations.upstream, seed)
    const found = await play(t, implementations.hypertab, seed)
    const at = expected.findIndex((note, at) => !isSame(note, found[at]))
    // Where upstream has lost nodes of the tree along with blocks, ours goes on, and the logs part.
    if (expected[at]?.[3]?.error === 'INVALID_OPERATION' && !found[at]?.[3]?.error) return
    // A branch is cut where nodes of its tree went with those of the log.
    if (found[at]?.[1]?.startsWith?.('branch') && found[at][2] === 'truncate' && found[at][3].error === 'INVALID_OPERATION') return
    // Upstream commits a branch of another history than the log's when both are equally long.
    if (found[at]?.[2] === 'commit' && found[at][3].value === null && forkAt(expected, at) > 0) return
    assertSameNotes(expected, found, `HYPERTAB_SEED=${seed}`, at)
  })
}

/**
 * Ours keeps nodes of the tree that upstream drops along with blocks, and drops those of a log that was cut below a branch: each finds
 * bytes where the other does not. What is wrong with a commit, ours says by a code.
 */
function isSame (expected, found) {
  if (JSON.stringify(expected) === JSON.stringify(found)) return true
  const [, name, kind, outcome] = expected
  // Of a branch whose log was cut below that, upstream waits for a block that no peer has, or takes nodes of what came there since.
  if (kind === 'hash') return name.startsWith('branch') || (outcome.value === 'INVALID_OPERATION' && /^buffer:/.test(found[3]?.value))
  if (kind === 'seek') return outcome.value === null ? Array.isArray(found[3]?.value) : found[3]?.value === null && /snapshot|branch/.test(name)
  return kind === 'commit' && outcome.error === true && !!found[3]?.error
}

/** The fork of the log before a note: above zero, it may have another history than a branch. */
function forkAt (notes, at) {
  return notes.slice(0, at).findLast((note) => note[0] === 'core' && note.length === 7)[3]
}

async function play (t, Hypercore, seed) {
  const below = randomOf(seed)
  const notes = []
  const core = new Hypercore(temporaryFolder(t), {
    valueEncoding: 'utf-8',
    keyPair: { publicKey: Buffer.from('8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c', 'hex'), secretKey: Buffer.from('01'.repeat(32) + '8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c', 'hex') },
    ...(below(3) === 0 ? { encryption: { key: Buffer.alloc(32, 3) } } : {})
  })
  defer(t, () => core.close())
  await core.ready()
  const sessions = [core]
  const names = new Map([[core, 'core']])
  const watch = (session, name) => {
    names.set(session, name)
    for (const event of ['append', 'truncate']) session.on(event, (...args) => { notes.push([name, event, ...args, session.length]) })
    sessions.push(session)
  }
  watch(core.session({ valueEncoding: 'utf-8' }), 'session')
  let made = 0
  for (let step = 0; step < STEPS; step++) {
    const session = sessions[below(sessions.length)]
    const { length } = session
    const near = below(length + 2)
    const steps = {
      append: [8, () => session.append(Array.from({ length: 1 + below(4) }, (_, i) => `${step}.${i}`))],
      truncate: [3, () => session.truncate(below(length + 1))],
      // Upstream's branch loses what it shares behind a block that is cleared.
      clear: [2, () => names.get(session).startsWith('branch') ? null : session.clear(near, near + below(3))],
      get: [6, () => session.get(near, { wait: false })],
      has: [3, () => session.has(near, near + 1 + below(4))],
      seek: [2, () => session.seek(below(session.byteLength + 2), { wait: false })],
      hash: [2, () => length > 0 && !names.get(session).includes('snapshot') ? session.treeHash(1 + below(length)).catch((error) => error.code) : null],
      userData: [2, () => session.setUserData(`k${below(2)}`, Buffer.from(`${step}`))],
      getUserData: [2, () => names.get(session).includes('snapshot') ? null : session.getUserData(`k${below(2)}`)],
      snapshot: [2, async () => { const made_ = session.snapshot({ valueEncoding: 'utf-8' }); await made_.ready(); watch(made_, `${names.get(session)} snapshot ${made++}`) }],
      branch: [2, async () => {
        if (names.get(session).includes('snapshot')) return null
        const branch = session.session({ name: `b${made}`, valueEncoding: 'utf-8' })
        await branch.ready()
        watch(branch, `branch ${made++}`)
      }],
      commit: [2, async () => names.get(session).startsWith('branch') && !names.get(session).includes('snapshot') ? await core.commit(session) : null],
      update: [1, () => session.update()],
      read: [1, async () => { const all = []; for await (const block of session.createReadStream({ wait: false })) all.push(block); return all }],
      close: [1, async () => { if (sessions.length < 4) return; sessions.splice(sessions.indexOf(session), 1); if (session === core) { sessions.push(core); return } await session.close() }]
    }
    const total = Object.values(steps).reduce((sum, [weight]) => sum + weight, 0)
    let draw = below(total)
    const [name, [, run]] = Object.entries(steps).find(([, [weight]]) => (draw -= weight) < 0)
    const late = new Promise((resolve) => { setTimeout(resolve, 2000, 'late') })
    const outcome = await Promise.race([Promise.resolve().then(run), late]).then((value) => ({ value: plain(value) }), (error) => ({ error: (!names.get(session).includes('snapshot') && error.code) || true }))
    notes.push([step, names.get(session), name, outcome])
    for (const one of sessions) notes.push([names.get(one), one.length, one.byteLength, one.fork, one.signedLength, one.contiguousLength, one.writable])
    // Of each block, and once more of all: what was answered before may be remembered, until the log has changed.
    for (const one of sessions.filter((one) => /^(core|session)$/.test(names.get(one)))) {
      const here = []
      for (let index = 0; index < one.length + 2; index++) here.push(await one.has(index) ? 1 : 0)
      notes.push([names.get(one), 'has', here.join(''), await one.has(0, one.length), await one.has(below(one.length + 1), one.length + below(2))])
    }
  }
  return notes
}
