// Upstream's Autobase over stores of ours: several writers, branches in atoms, signed views, restarts; also beside peers with upstream's.

import assert from 'node:assert/strict'
import test from 'node:test'

import Autobase from 'autobase'
import b4a from 'b4a'
import Corestore from 'corestore'
import Hyperbee from 'hyperbee'
import HypertabStore from 'hypertab/corestore'
import HypertabBee from 'hypertab/hyperbee'

import { baseOptions, viewOf } from './support/autobase.mjs'
import { eventually } from './support/both.mjs'
import { defer } from './support/cleanup.mjs'
import { temporaryFolder } from './support/folder.mjs'

const upstream = { Corestore, Hyperbee }
const ours = { Corestore: HypertabStore, Hyperbee: HypertabBee }
// A bee of upstream's is also taken over our cores.
const mixed = { Corestore: HypertabStore, Hyperbee }

const hex = (bytes) => b4a.toString(bytes, 'hex')
const sorted = (list) => [...list].sort()

/** One participant: a store in a folder, and the base in it. */
class Participant {
  constructor (t, classes, options) {
    Object.assign(this, { classes, options, folder: temporaryFolder(t), errors: [] })
  }

  async open (key) {
    const { Corestore, Hyperbee } = this.classes
    this.store = new Corestore(this.folder)
    this.base = new Autobase(this.store.namespace('base'), key, {
      ...baseOptions(Hyperbee),
      ackThreshold: 0,
      ...this.options
    })
    this.base.on('error', (error) => { this.errors.push(error) })
    await this.base.ready()
    return this.base
  }

  async close () {
    await this.base.close()
    await this.store.close()
  }

  /** Everything that the view tells. */
  async view () {
    return await viewOf(this.base)
  }
}

/** Runs the story with a class of stores for each of two indexers, a writer and a reader. */
async function play (t, classes, options = {}) {
  const streams = []
  const everybody = classes.map((classes, at) => new Participant(t, classes, { ...options, fastForward: at === 3 }))
  const [a, b, c, reader] = everybody
  const opened = new Set()
  const open = async (participant, key) => {
    await participant.open(key)
    opened.add(participant)
  }
  const unlink = async () => {
    await Promise.all(streams.splice(0).map((stream) => new Promise((resolve) => {
      stream.on('close', resolve)
      stream.destroy()
    })))
  }
  defer(t, async () => {
    await unlink()
    for (const participant of opened) await participant.close()
  })
  const link = (one, other) => {
    const [initiator, responder] = [one.store.replicate(true), other.store.replicate(false)]
    for (const stream of [initiator, responder]) stream.on('error', () => {})
    initiator.pipe(responder).pipe(initiator)
    streams.push(initiator, responder)
  }
  const linkAll = () => {
    link(a, b)
    link(b, c)
    link(a, c)
  }
  const converged = async (participants = [a, b, c]) => {
    await eventually(async () => {
      assert.deepEqual(everybody.flatMap(({ errors }) => errors), [])
      const heads = new Set()
      for (const { base } of participants) {
        await base.update()
        heads.add(JSON.stringify(base.heads().map(({ key, length }) => [hex(key), length])) + base.view.list.length)
      }
      return heads.size === 1
    }, 'the same heads everywhere', 60_000)
  }
  /** Indexers confirm in turn until everything is signed everywhere. */
  const confirmed = async (length) => {
    await eventually(async () => {
      for (const participant of [a, b]) {
        await participant.base.ack()
        await converged()
      }
      return [a, b, c].every(({ base }) => base.view.list.signedLength >= length)
    }, 'a signed view everywhere', 60_000)
  }
  const same = async (participants = [a, b, c]) => {
    const views = []
    for (const participant of participants) views.push(await participant.view())
    for (const { entries, keys, hash } of views) {
      assert.deepEqual(entries, views[0].entries)
      assert.deepEqual(keys, sorted(entries))
      assert.equal(hash, views[0].hash)
    }
    return views[0]
  }

  await open(a, null)
  const { key } = a.base
  await open(b, key)
  await open(c, key)
  linkAll()
  await a.base.append({ add: hex(b.base.local.key) })
  await a.base.append({ add: hex(c.base.local.key), indexer: false })
  for (let i = 0; i < 5; i++) await a.base.append({ key: `a${i}` })
  await eventually(async () => {
    await converged()
    return b.base.writable && c.base.writable
  }, 'writers')
  assert.deepEqual((await same()).entries, ['a0', 'a1', 'a2', 'a3', 'a4'])
  await b.base.append({ key: 'b' })
  await converged()
  await confirmed(6)
  await same()
  await b.base.append({ anchor: true })
  await converged()

  // Apart, everybody writes on.
  await unlink()
  for (let i = 0; i < 3; i++) for (const [name, { base }] of [['a', a], ['b', b], ['c', c]]) await base.append({ key: `apart-${name}${i}` })
  for (const participant of [a, b, c]) assert.equal((await participant.view()).entries.length, 9)
  linkAll()
  await converged()
  await a.base.append({ key: 'together' })
  await converged()
  await confirmed(16)
  const view = await same()
  assert.equal(view.entries.length, 16)

  // One begins again from what it has stored.
  await unlink()
  await b.close()
  opened.delete(b)
  await open(b, key)
  await b.base.update()
  assert.deepEqual(await b.view(), view)
  assert.ok(b.base.writable)
  linkAll()
  await b.base.append({ key: 'again' })
  await converged()
  const snapshot = a.base.view.list.snapshot()
  await snapshot.ready()
  await a.base.append({ remove: hex(c.base.local.key) })
  await eventually(async () => {
    await converged()
    await b.base.ack()
    await a.base.ack()
    return !c.base.writable
  }, 'a writer that is none any more')
  assert.equal(snapshot.length, 17)
  assert.equal(JSON.parse(await snapshot.get(16)).key, 'again')
  await snapshot.close()

  // Somebody who comes late.
  await open(reader, key)
  link(reader, b)
  await converged([a, b, c, reader])
  await same([a, b, c, reader])
  assert.ok(!reader.base.writable)
  return (await same()).entries
}

for (const [name, classes] of [
  ['ours', [ours, ours, ours, ours]],
  ['ours, with bees of upstream\'s', [mixed, mixed, mixed, mixed]],
  ['upstream\'s beside one of ours', [upstream, ours, upstream, ours]],
  ['ours beside one of upstream\'s', [ours, upstream, ours, upstream]]
]) {
  test(`Autobase over stores: ${name}`, async (t) => {
    const expected = await play(t, [upstream, upstream, upstream, upstream])
    assert.deepEqual(sorted(await play(t, classes)), sorted(expected))
  })
}

test('Autobase over stores: ours, encrypted', async (t) => {
  const entries = await play(t, [ours, upstream, ours, ours], { encryptionKey: b4a.alloc(32, 7) })
  assert.equal(entries.length, 17)
})
