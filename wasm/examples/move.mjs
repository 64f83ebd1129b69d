// A store in one piece, to be kept or sent, and taken in elsewhere.

import { Corestore, exportStore, importStore, memory } from 'hypertab'

const storage = memory()
const store = new Corestore(storage)
await store.get({ name: 'log' }).append(['kept', 'and moved'])

const pieces = []
for await (const piece of exportStore(storage)) pieces.push(piece)
await store.close()

const target = memory()
await importStore(pieces, target)
const moved = new Corestore(target)
const log = moved.get({ name: 'log', valueEncoding: 'utf-8' })
console.log(await log.get(1), log.writable)
await moved.close()

// and moved true
