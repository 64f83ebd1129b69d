// A backup: one file with everything that an identity has. A line of JSON lists the drives, tables and rooms; the store follows, as the
// package exports it.

import { exportStore, importStore } from 'hypertab'
import type { TransferOptions } from 'hypertab'

import type { Catalog, Entry } from './catalog.ts'
import type { Vault } from './vault.ts'

/** The lists of what is in the store, by what is in them. */
export type Lists = Readonly<Record<'drives' | 'tables' | 'rooms', Catalog>>

type Listed = Record<keyof Lists, Entry[]>

/** Bytes of the first line: some thousand entries. */
const LONGEST_LINE = 4 << 20

/** The file, as it is read from the store. */
export async function backup (vault: Vault, lists: Lists, options: TransferOptions): Promise<AsyncIterable<Uint8Array<ArrayBuffer>>> {
  const store = await vault.open()
  const entries = Object.fromEntries(Object.entries(lists).map(([kind, catalog]) => [kind, catalog.all().filter((entry) => entry.store === vault.name)]))
  const line = JSON.stringify({ hypertab: 'backup', version: 1, store: await vault.nameFor(store.primaryKey!), entries })
  const bytes = exportStore(store.storage, options)
  return (async function * () {
    yield new TextEncoder().encode(`${line}\n`)
    yield * bytes
  })()
}

/** Takes a backup in; from the next load of the page on, its identity is the one in use. Until all of it was read, nothing changes. */
export async function restore (file: Blob, vault: Vault, lists: Lists, options: TransferOptions): Promise<void> {
  const start = new Uint8Array(await file.slice(0, LONGEST_LINE).arrayBuffer())
  const end = start.indexOf(10)
  const { store, entries } = parseLine(end < 0 ? '' : new TextDecoder().decode(start.subarray(0, end)))
  await importStore(file.slice(end + 1), await vault.storageOf(store), options)
  const name = await vault.use(store)
  for (const [kind, catalog] of Object.entries(lists) as [keyof Lists, Catalog][]) {
    for (const entry of entries[kind]) {
      const known = catalog.find(entry.id)
      // What may have been written on elsewhere is asked for before anything is written here.
      if (known?.store !== name) catalog.put({ ...entry, store: name, ...(entry.isOwn ? { isAdopted: true } : {}) })
    }
  }
}

function parseLine (line: string): { store: string, entries: Listed } {
  let given: { hypertab?: unknown, version?: unknown, store?: unknown, entries?: Record<string, unknown> }
  try {
    given = JSON.parse(line)
  } catch {
    throw new Error('This file is no backup.')
  }
  if (given?.hypertab !== 'backup' || typeof given.store !== 'string' || !/^store-[0-9a-f]{16}$/.test(given.store)) throw new Error('This file is no backup.')
  if (given.version !== 1) throw new Error('This file was made by a newer version of the page.')
  const entriesOf = (kind: keyof Lists): Entry[] => {
    const list = given.entries?.[kind]
    return Array.isArray(list) ? list.filter(isEntry) : []
  }
  return { store: given.store, entries: { drives: entriesOf('drives'), tables: entriesOf('tables'), rooms: entriesOf('rooms') } }
}

function isEntry (entry: Partial<Entry> | null): entry is Entry {
  return typeof entry?.id === 'string' && typeof entry.name === 'string' && typeof entry.isOwn === 'boolean' &&
    [entry.length, entry.held, entry.seen].every((count) => Number.isSafeInteger(count)) && ['string', 'undefined'].includes(typeof entry.space) &&
    (entry.members === undefined || (Array.isArray(entry.members) && entry.members.every((key) => typeof key === 'string')))
}
