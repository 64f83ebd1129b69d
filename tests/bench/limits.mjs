// What a browser does with the same bytes without the package, and what the engine does without browser or disk.

import { replicate } from './workloads.js'

/** Bytes of a row or a write: what a commit of large blocks is handed over in. */
const PIECE = 1 << 20

/** Bytes of what is put by itself, as a small block is with what is stored about it. */
const PUT = 600
const PUTS = 500

/**
 * Measures the limits of one storage.
 *
 * @param {object} host
 * @param {any} host.Hypercore the class
 * @param {() => any} host.memory makes storage in memory
 * @param {string} host.store `indexed-db` or `opfs`
 * @param {import('./workloads.mjs').Remote} host.remote a core of upstream's, behind a server that also sends as many bytes bare
 * @returns {Promise<[name: string, value: number, unit: string][]>}
 */
export async function limits ({ Hypercore, memory, store, remote }) {
  const bytes = remote.length * remote.size
  const megabytes = (seconds) => bytes / seconds / 1e6
  const best = async (run) => Math.max(...[await run(), await run(), await run()].map(megabytes))
  const write = store === 'opfs' ? writeFile : writeRows
  const put = store === 'opfs' ? writePieces : putRows
  return [
    ['limit-websocket', await best(() => receive(`${remote.url}/bare`, bytes)), 'MB/s'],
    ['limit-put', Math.max(await put(PUTS), await put(PUTS), await put(PUTS)), 'puts/s'],
    ['limit-storage', await best(() => write(bytes)), 'MB/s'],
    ['limit-replicate-into-memory', await best(() => replicate({ Hypercore, place: memory, remote })), 'MB/s']
  ]
}

/** Seconds until as many bytes arrived in messages. */
function receive (url, bytes) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url)
    socket.binaryType = 'arraybuffer'
    let start = 0
    let left = bytes
    socket.onerror = () => reject(new Error('the WebSocket does not open'))
    socket.onopen = () => { start = performance.now() }
    socket.onmessage = ({ data }) => {
      left -= data.byteLength
      if (left > 0) return
      socket.close()
      resolve((performance.now() - start) / 1000)
    }
  })
}

function openRows (name) {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(name, 1)
    request.onupgradeneeded = () => request.result.createObjectStore('rows')
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error)
  })
}

/** Rows a second, of which each has a transaction that is awaited. */
async function putRows (count) {
  const name = `limit-${Math.random()}`
  const database = await openRows(name)
  const row = new Uint8Array(PUT)
  const start = performance.now()
  for (let key = 0; key < count; key++) {
    const transaction = database.transaction('rows', 'readwrite', { durability: 'relaxed' })
    transaction.objectStore('rows').put(row, key)
    const done = new Promise((resolve, reject) => {
      transaction.oncomplete = resolve
      transaction.onabort = () => reject(transaction.error)
    })
    transaction.commit()
    await done
  }
  const seconds = (performance.now() - start) / 1000
  database.close()
  indexedDB.deleteDatabase(name)
  return count / seconds
}

/** Writes to a file a second. */
async function writePieces (count) {
  const name = `limit-${Math.random()}`
  const root = await navigator.storage.getDirectory()
  const handle = await (await root.getFileHandle(name, { create: true })).createSyncAccessHandle()
  const piece = new Uint8Array(PUT)
  const start = performance.now()
  for (let number = 0; number < count; number++) handle.write(piece, { at: number * PUT })
  const seconds = (performance.now() - start) / 1000
  handle.close()
  await root.removeEntry(name)
  return count / seconds
}

/** Seconds for rows of a database, with two transactions under way at a time. */
async function writeRows (bytes) {
  const name = `limit-${Math.random()}`
  const database = await openRows(name)
  const pieces = random(bytes).map((piece) => new Blob([piece]))
  const start = performance.now()
  const underWay = []
  for (const [key, piece] of pieces.entries()) {
    const transaction = database.transaction('rows', 'readwrite', { durability: 'relaxed' })
    transaction.objectStore('rows').put(piece, key)
    underWay.push(new Promise((resolve, reject) => {
      transaction.oncomplete = resolve
      transaction.onabort = () => reject(transaction.error)
    }))
    transaction.commit()
    if (underWay.length > 1) await underWay.shift()
  }
  await Promise.all(underWay)
  const seconds = (performance.now() - start) / 1000
  database.close()
  indexedDB.deleteDatabase(name)
  return seconds
}

/** Seconds for writes to a file. */
async function writeFile (bytes) {
  const name = `limit-${Math.random()}`
  const root = await navigator.storage.getDirectory()
  const handle = await (await root.getFileHandle(name, { create: true })).createSyncAccessHandle()
  const pieces = random(bytes)
  const start = performance.now()
  for (const [number, piece] of pieces.entries()) handle.write(piece, { at: number * PIECE })
  const seconds = (performance.now() - start) / 1000
  handle.close()
  await root.removeEntry(name)
  return seconds
}

/** Pieces that no layer can make smaller. */
function random (bytes) {
  return Array.from({ length: Math.ceil(bytes / PIECE) }, () => {
    const piece = new Uint8Array(PIECE)
    for (let at = 0; at < PIECE; at += 65536) crypto.getRandomValues(piece.subarray(at, at + 65536))
    return piece
  })
}
