// One program, run with upstream's drives and with ours: what it says must be the same.

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import test from 'node:test'

import UpstreamStore from 'corestore'
import UpstreamDrive from 'hyperdrive'
import UpstreamLocaldrive from 'localdrive'
import UpstreamMirror from 'mirror-drive'
import Corestore from 'hypertab/corestore'
import Hyperdrive from 'hypertab/hyperdrive'
import Localdrive from 'hypertab/localdrive'
import MirrorDrive from 'hypertab/mirror-drive'

import { plain } from './both.mjs'
import { defer } from './cleanup.mjs'
import { temporaryFolder } from './folder.mjs'
import { replicate } from './pipes.mjs'

/** The implementations, by name. */
export const kits = {
  upstream: { name: 'upstream', Corestore: UpstreamStore, Hyperdrive: UpstreamDrive, Localdrive: UpstreamLocaldrive, MirrorDrive: UpstreamMirror },
  hypertab: { name: 'hypertab', Corestore, Hyperdrive, Localdrive, MirrorDrive }
}

/** The master key of all stores that are made here, so that keys are the same. */
const primaryKey = Buffer.alloc(32, 7)

/** Runs a program with each implementation and compares what it notes. */
export function sameDrives (name, program) {
  test(name, async (t) => {
    const expected = await play(t, [kits.upstream], program)
    assert.deepEqual(await play(t, [kits.hypertab], program), expected)
  })
}

/** Runs a program with one implementation on each side, in every combination. */
export function sameDrivesOfEveryPair (name, program) {
  test(name, async (t) => {
    const { upstream, hypertab } = kits
    const expected = await play(t, [upstream, upstream], program)
    for (const pair of [[hypertab, upstream], [upstream, hypertab], [hypertab, hypertab]]) {
      await t.test(pair.map((kit) => kit.name).join(' and '), async (t) => {
        assert.deepEqual(await play(t, pair, program), expected)
      })
    }
  })
}

async function play (t, pair, program) {
  const notes = []
  const undo = []
  const [A, B = A] = pair
  const scene = {
    A,
    B,
    kit: A,
    note: (...values) => { notes.push(values.map(plain)) },
    folder: () => temporaryFolder(t),
    defer: (step) => { undo.push(step) },
    store: (kit = A, options = { primaryKey, unsafe: true }) => {
      const store = new kit.Corestore(temporaryFolder(t), options)
      undo.push(() => store.close())
      return store
    },
    drive: async (...args) => await open(scene, A, args),
    driveA: async (...args) => await open(scene, A, args),
    driveB: async (...args) => await open(scene, B, args),
    localdrive: (options, kit = A) => new kit.Localdrive(temporaryFolder(t), options),
    replicate: (a, b) => replicate(undo, a, b)
  }
  defer(t, async () => { for (const step of undo.reverse()) await step() })
  await program(scene)
  return notes
}

async function open (scene, kit, [key, options]) {
  const drive = new kit.Hyperdrive(scene.store(kit), ...(key === undefined ? [] : [key]), ...(options ? [options] : []))
  scene.defer(() => drive.close())
  await drive.ready()
  return drive
}

export async function collect (stream) {
  const all = []
  for await (const data of stream) all.push(data)
  return all
}

/** Writes chunks, and waits until the stream has closed. */
export function write (stream, chunks) {
  return new Promise((resolve, reject) => {
    stream.on('error', reject)
    stream.on('close', resolve)
    for (const chunk of chunks) stream.write(chunk)
    stream.end()
  })
}

/** Every file of a drive: what is kept of it, and a hash of its content. */
export async function tree (drive) {
  const files = []
  for await (const { key, value } of drive.list('/')) {
    const content = value.linkname ? null : await drive.get(key)
    files.push([key, value.executable, value.linkname, value.metadata, content && createHash('sha256').update(content).digest('hex')])
  }
  return files.sort(([a], [b]) => a < b ? -1 : 1)
}

/** Reproducible bytes that do not repeat. */
export function noise (length, seed = 1) {
  const bytes = Buffer.alloc(length)
  let x = (seed * 2654435761) >>> 0 || 1
  for (let i = 0; i < length; i++) {
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    bytes[i] = x
  }
  return bytes
}
