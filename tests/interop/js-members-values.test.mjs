// What upstream's objects say of themselves, ours say too: every plain value of every public member, before they are open, open and
// closed. Other values are told by their kind.

import { createRequire } from 'node:module'
import assert from 'node:assert/strict'
import test from 'node:test'

import { defer } from './support/cleanup.mjs'
import { temporaryFolder } from './support/folder.mjs'

const require = createRequire(import.meta.url)
const primaryKey = Buffer.alloc(32, 3)

/** Members that have other values, by the object: upstream's first. */
const OTHER = {
  // It knows at once which log and which state of it it shows.
  'snapshot before': { opened: [false, true], state: [null, 'object'], length: [0, 3], signedLength: [0, 3], byteLength: [0, 6], contiguousLength: [0, 3] },
  // It shows nothing before its branch is there.
  'branch before': { state: ['object', null] }
}

test('every value is the same, before opening, open and closed', async (t) => {
  const theirs = await play(t, '')
  const ours = await play(t, 'hypertab/')
  const differences = {}
  for (const [name, values] of Object.entries(theirs)) {
    for (const [member, value] of Object.entries(values)) {
      if (!(member in ours[name])) continue
      try {
        assert.deepEqual(ours[name][member], value)
      } catch {
        (differences[name] ??= {})[member] = [value, ours[name][member]]
      }
    }
  }
  assert.deepEqual(differences, OTHER)
})

/** The values of every object in every state. */
async function play (t, prefix) {
  const [Hypercore, Corestore, Hyperbee, Hyperblobs, Hyperdrive, MirrorDrive, Localdrive] = ['hypercore', 'corestore', 'hyperbee', 'hyperblobs', 'hyperdrive', 'mirror-drive', 'localdrive'].map((name) => require(prefix + name))
  const found = {}
  const look = async (name, make, { use = async () => {}, ready = (thing) => thing.ready(), close = (thing) => thing.close() } = {}) => {
    const thing = make()
    defer(t, () => close(thing))
    found[`${name} before`] = valuesOf(thing)
    await ready(thing)
    found[`${name} open`] = valuesOf(thing)
    await use(thing)
    found[`${name} used`] = valuesOf(thing)
    await close(thing)
    found[`${name} closed`] = valuesOf(thing)
  }
  const store = new Corestore(temporaryFolder(t), { primaryKey, unsafe: true })
  defer(t, () => store.close())
  const other = new Corestore(temporaryFolder(t), { primaryKey: Buffer.alloc(32, 4), unsafe: true })
  await look('Corestore', () => other, { use: async () => { await other.get({ name: 'a' }).ready() } })
  const append = (core) => core.append(['a', 'bb', 'ccc'])
  const parent = store.get({ name: 'parent' })
  await append(parent)
  await look('Hypercore', () => store.get({ name: 'core' }), { use: append })
  await look('Hypercore of its own', () => new Hypercore(temporaryFolder(t), { keyPair: { publicKey: parent.keyPair.publicKey, secretKey: parent.keyPair.secretKey } }), { use: append })
  await look('Hypercore of another', () => store.get({ key: Buffer.alloc(32, 9) }))
  await look('encrypted', () => store.get({ name: 'encrypted', encryptionKey: Buffer.alloc(32, 1), valueEncoding: 'json' }), { use: append })
  for (const [name, options] of Object.entries({ session: {}, 'session that cannot write': { writable: false }, branch: { name: 'branch' }, 'session with an encoding': { valueEncoding: 'utf-8', timeout: 5, wait: false }, 'weak session': { weak: true } })) {
    await look(name, () => parent.session(options))
  }
  await look('snapshot', () => parent.snapshot())
  const bees = { ready: (bee) => bee.ready(), use: (bee) => bee.put('a', 'b') }
  await look('Hyperbee', () => new Hyperbee(store.get({ name: 'bee' })), bees)
  const bee = new Hyperbee(store.get({ name: 'another bee' }), { keyEncoding: 'utf-8' })
  await bee.put('a', 'b')
  for (const [name, make] of Object.entries({ 'bee.snapshot': () => bee.snapshot(), 'bee.checkout': () => bee.checkout(1) })) await look(name, make)
  await look('bee.batch', () => bee.batch(), { use: (batch) => batch.put('c', 'd') })
  await look('bee.createRangeIterator', () => bee.createRangeIterator(), { ready: (iterator) => iterator.open(), use: (iterator) => iterator.next() })
  await look('bee.watch', () => bee.watch())
  await look('Hyperblobs', () => new Hyperblobs(store.get({ name: 'blobs' })), { use: (blobs) => blobs.put('x') })
  await look('Hyperdrive', () => new Hyperdrive(store.namespace('drive')), { use: (drive) => drive.put('/a', 'x') })
  const drive = new Hyperdrive(store.namespace('another drive'))
  await drive.put('/a', 'x')
  await look('drive.checkout', () => drive.checkout(2))
  await look('drive.batch', () => drive.batch(), { use: (batch) => batch.put('/b', 'y') })
  await look('Localdrive', () => new Localdrive(temporaryFolder(t)), { use: (local) => local.put('/a', 'x') })
  await look('MirrorDrive', () => new MirrorDrive(drive, new Localdrive(temporaryFolder(t))), { ready: async () => {}, use: (mirror) => mirror.done(), close: async () => {} })
  return found
}

/** Plain values of public members as they are, and the kinds of others. What is of the machine is left out. */
function valuesOf (object) {
  const values = {}
  for (let owner = object; owner && owner !== Object.prototype; owner = Object.getPrototypeOf(owner)) {
    for (const name of Object.getOwnPropertyNames(owner)) {
      if (name.startsWith('_') || name in values || ['constructor', 'domain', 'root'].includes(name)) continue
      try {
        values[name] = kindOf(object[name])
      } catch (error) {
        values[name] = `throws ${error.name}`
      }
    }
  }
  return values
}

function kindOf (value) {
  if (value === null || ['boolean', 'number', 'string', 'undefined'].includes(typeof value)) return value
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex')
  if (Array.isArray(value)) return { list: value.length }
  if (value instanceof Map || value instanceof Set) return { size: value.size }
  return typeof value
}
