// Runs the suite of all storage backends in a page or worker: the module that both load.

import init, { runConformance } from '/suite/hypertab.js'
import { randomOf, tornFile } from '/torn-file.js'

let loading = null

/**
 * Runs one test of the suite.
 *
 * @param {{ store: string, name: string, test: string, seed: number, count: number }} job
 * @param {(question: string, value: any) => Promise<any>} ask asks the test outside
 */
export async function runSuite ({ store, name, test, seed, count }, ask) {
  await (loading ??= fetch('/suite/hypertab_bg.wasm').then((response) => init({ module_or_path: response })))
  const makePlace = store === 'opfs' ? filePlace : databasePlace
  return await runConformance(makePlace(name, randomOf(seed + 1), ask), test, seed, count)
}

function databasePlace (name, random, ask) {
  return {
    database: name,
    isShared: true,
    tear: () => watchTransactions(),
    async moment () {
      // Before the transaction is begun, between its requests, while it is written, or after it.
      const turns = random(6)
      for (let turn = 0; turn < turns; turn++) await null
      if (random(3) === 0) await new Promise((resolve) => { setTimeout(resolve, random(4)) })
      if (random(2) === 0) abortLast()
    },
    // Chromium looks at its quota every half minute only, which is longer than a test should take.
    async setFull (isFull) {
      full = isFull
      refuseLarge()
      return true
    },
    told: (answered) => tell(answered, ask)
  }
}

// The page is told faster than it can tell anybody.
function tell (answered, ask) {
  if (answered % 10 === 0) void ask('told', answered)
  return answered < 4000
}

let full = false
let isRefusing = false

function refuseLarge () {
  if (isRefusing) return
  isRefusing = true
  for (const name of ['add', 'put']) {
    const write = IDBObjectStore.prototype[name]
    IDBObjectStore.prototype[name] = function (value, key) {
      if (full && (value.byteLength ?? value.size) > 100_000) throw new DOMException('no room', 'QuotaExceededError')
      return write.call(this, value, key)
    }
  }
}

let last = null
let isWatching = false

function watchTransactions () {
  last = null
  if (isWatching) return
  isWatching = true
  const { transaction } = IDBDatabase.prototype
  IDBDatabase.prototype.transaction = function (stores, mode, options) {
    const begun = transaction.call(this, stores, mode, options)
    if (mode === 'readwrite') last = begun
    return begun
  }
}

function abortLast () {
  try {
    last?.abort()
  } catch {
    // It is over already.
  }
}

function filePlace (name, random, ask) {
  const faults = { left: null, end: null }
  return {
    database: undefined,
    isShared: false,
    async openFile () {
      faults.left = null
      const root = await navigator.storage.getDirectory()
      const file = await root.getFileHandle(name, { create: true })
      return tornFile(syncFile(await file.createSyncAccessHandle()), faults)
    },
    tear () { faults.left = random(400_000) },
    async moment () {},
    setFull: (isFull) => ask('setFull', isFull),
    told: (answered) => tell(answered, ask)
  }
}

function syncFile (handle) {
  return {
    read: (buffer, at) => handle.read(buffer, { at }),
    write (bytes, at) {
      for (let written = 0; written < bytes.byteLength;) written += handle.write(bytes.subarray(written), { at: at + written })
    },
    sync: () => handle.flush(),
    close: () => handle.close()
  }
}
