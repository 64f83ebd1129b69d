// Upstream's Autobase over stores of ours: readers that skip to what is signed, and what is told of a base by its cores.

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

const kits = { upstream: { Corestore, Hyperbee }, hypertab: { Corestore: HypertabStore, Hyperbee: HypertabBee } }

const hex = (bytes) => b4a.toString(bytes, 'hex')

/** Plays a story with upstream's stores, and with ours in the place of some or all of those of a writer and a reader. */
function same (name, story) {
  test(name, async (t) => {
    const { upstream, hypertab } = kits
    const expected = await play(t, [upstream, upstream], story)
    for (const [who, pair] of [['ours', [hypertab, hypertab]], ['the writers are ours', [hypertab, upstream]], ['the reader is ours', [upstream, hypertab]]]) {
      await t.test(who, async (t) => { assert.deepEqual(await play(t, pair, story), expected) })
    }
  })
}

async function play (t, [A, B], story) {
  const notes = []
  const streams = new Set()
  const open = async (kit, { folder = temporaryFolder(t), key = null, ...options } = {}) => {
    const store = new kit.Corestore(folder)
    const base = new Autobase(store.namespace('base'), key, { ...baseOptions(kit.Hyperbee), ackThreshold: 0, fastForward: false, ...options })
    const forwards = []
    const errors = []
    base.on('fast-forward', (to, from) => { forwards.push([to, from]) })
    base.on('error', (error) => { errors.push(error) })
    const member = { store, base, folder, forwards, errors, isClosed: false }
    member.close = async () => {
      if (member.isClosed) return
      member.isClosed = true
      await base.close()
      await store.close()
    }
    defer(t, member.close)
    await base.ready()
    return member
  }
  const unlink = async () => {
    for (const stream of streams) stream.destroy()
    await Promise.all([...streams].map((stream) => new Promise((resolve) => { stream.on('close', resolve) })))
    streams.clear()
  }
  defer(t, unlink)
  const link = (one, other) => {
    const pair = [one.store.replicate(true), other.store.replicate(false)]
    for (const stream of pair) {
      stream.on('error', () => {})
      streams.add(stream)
    }
    pair[0].pipe(pair[1]).pipe(pair[0])
  }
  const converged = (...members) => eventually(async () => {
    assert.deepEqual(members.flatMap(({ errors }) => errors), [])
    for (const { base } of members) await base.update()
    return new Set(members.map(({ base }) => JSON.stringify([base.heads().map(({ key, length }) => [hex(key), length]), base.view.list.length]))).size === 1
  }, 'the same everywhere', 60_000)
  /** Indexers confirm in turn. */
  const confirmed = (length, ...members) => eventually(async () => {
    for (const { base } of members) {
      await base.ack()
      await converged(...members)
    }
    return members.every(({ base }) => base.view.list.signedLength >= length)
  }, 'a signed view', 60_000)
  const note = (...values) => { notes.push(...values) }
  await story({ A, B, open, link, unlink, converged, confirmed, note })
  return notes
}

/** A base that one has written and signed. */
async function written ({ A, open, confirmed }, count) {
  const writer = await open(A)
  for (let i = 0; i < count; i++) await writer.base.append({ key: `k${i}` })
  await confirmed(count, writer)
  return writer
}

same('a reader that may skip to what is signed', async (scene) => {
  const { B, open, link, unlink, converged, confirmed, note } = scene
  const writer = await written(scene, 60)
  const { key } = writer.base
  const reader = await open(B, { key, fastForward: true })
  link(writer, reader)
  await converged(writer, reader)
  note((await viewOf(reader.base)).entries.length, (await viewOf(reader.base)).hash === (await viewOf(writer.base)).hash)

  // While it is away another indexer comes, so that the view moves to another core.
  await unlink()
  await reader.close()
  const second = await open(scene.A, { key })
  link(writer, second)
  await writer.base.append({ add: hex(second.base.local.key) })
  await eventually(async () => {
    await converged(writer, second)
    return second.base.writable
  }, 'a second writer', 60_000)
  for (let i = 0; i < 40; i++) await (i % 2 ? writer : second).base.append({ key: `m${i}` })
  await confirmed(100, writer, second)
  const again = await open(B, { key, folder: reader.folder, fastForward: true })
  note((await viewOf(again.base)).entries.length)
  link(again, second)
  await converged(writer, second, again)
  const [view, expected] = [await viewOf(again.base), await viewOf(writer.base)]
  note(view.entries.length, view.hash === expected.hash, view.keys.length)
})

same('a reader begins at a key that it was given', async (scene) => {
  const { B, open, link, converged, note } = scene
  const writer = await written(scene, 30)
  const reader = await open(B, { key: writer.base.key, fastForward: { key: writer.base.core.key } })
  link(writer, reader)
  await converged(writer, reader)
  note(reader.forwards.length > 0, (await viewOf(reader.base)).entries.length)
  await writer.base.append({ key: 'more' })
  await converged(writer, reader)
  note((await viewOf(reader.base)).entries.at(-1))
})

same('what the cores of a base tell', async (scene) => {
  const { A, open, note } = scene
  const writer = await written(scene, 3)
  const { base, store, folder } = writer
  await base.setUserData('mine', b4a.from('data'))
  const { referrer, view } = await Autobase.getUserData(base.local)
  note(referrer.equals(base.key), view, await Autobase.isAutobase(base.local), String(await base.getUserData('mine')))
  note((await Autobase.getLocalKey(store.namespace('base'))).equals(base.local.key))
  const { key } = base
  const other = store.get({ name: 'other' })
  await other.append('no message of a base')
  note(await Autobase.isAutobase(other))
  await writer.close()
  const again = await open(A, { folder })
  note(again.base.key.equals(key), again.base.writable, (await viewOf(again.base)).entries, String(await again.base.getUserData('mine')))
})
