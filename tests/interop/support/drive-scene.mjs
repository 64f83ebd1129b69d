// What programs over drives get: stores, drives, replications, notes. Nothing of Node is needed, so that the same programs run
// in a page.

import { replicate } from './pipes.mjs'
import { plain, toHex } from './scene.mjs'

/** The master key of all stores that are made here, so that keys are the same. */
const primaryKey = Buffer.alloc(32, 7)

/** Runs a program with the classes of one side, or of each, and returns what it notes. */
export async function playDrives (pair, program, { folder, defer }) {
  const notes = []
  const undo = []
  const [A, B = A] = pair
  const scene = {
    A,
    B,
    kit: A,
    note: (...values) => { notes.push(values.map(plain)) },
    folder,
    defer: (step) => { undo.push(step) },
    store: (kit = A, options = { primaryKey, unsafe: true }) => {
      const store = new kit.Corestore(folder(), options)
      undo.push(() => store.close())
      return store
    },
    drive: async (...args) => await open(scene, A, args),
    driveA: async (...args) => await open(scene, A, args),
    driveB: async (...args) => await open(scene, B, args),
    localdrive: (options, kit = A) => new kit.Localdrive(folder(), options),
    replicate: (a, b) => replicate(undo, a, b)
  }
  defer(async () => { for (const step of undo.reverse()) await step() })
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
    files.push([key, value.executable, value.linkname, value.metadata, content && await sha256(content)])
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

async function sha256 (content) {
  return toHex(new Uint8Array(await globalThis.crypto.subtle.digest('SHA-256', content)))
}
