// Times reads of bees and drives whose blocks are on the disk: node tests/bench/walks.mjs [upstream | folder of a built package]
//
// Prints µs of processor time, which other programs do not lengthen, of each entry or read: medians of five rounds, each with a bee or drive
// that was just opened. Run versions in turn.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

const [whose = join(import.meta.dirname, '..', '..', 'wasm')] = process.argv.slice(2)
const load = async (name) => (await import(whose === 'upstream' ? name : pathToFileURL(join(whose, 'dist', 'node', `${name}.js`)).href)).default
const [Hypercore, Hyperbee, Corestore, Hyperdrive] = await Promise.all(['hypercore', 'hyperbee', 'corestore', 'hyperdrive'].map(load))

const root = mkdtempSync(join(tmpdir(), 'walks-'))
const keys = 4000
const files = 800
const openBee = () => new Hyperbee(new Hypercore(join(root, 'bee')), { keyEncoding: 'utf-8', valueEncoding: 'json' })
const openDrive = () => new Hyperdrive(new Corestore(join(root, 'drive')))
const path = (i) => `/folder${i % 10}/file${i}`

await used(openBee, async (bee) => {
  const batch = bee.batch()
  for (let i = 0; i < keys; i++) await batch.put(`key${i}`, { i })
  await batch.flush()
})
await used(openDrive, async (drive) => { for (let i = 0; i < files; i++) await drive.put(path(i), Buffer.alloc(1000, i)) })

await print('walk over a bee', openBee, keys, (bee) => through(bee.createReadStream()))
await print('walk over its history', openBee, keys, (bee) => through(bee.createHistoryStream()))
await print('get of a bee', openBee, keys, async (bee) => { for (let i = 0; i < keys; i++) await bee.get(`key${i * 7919 % keys}`) })
await print('snapshot of a core', () => new Hypercore(join(root, 'bee')), 2000, async (core) => {
  for (let i = 0; i < 2000; i++) {
    const snapshot = core.snapshot()
    await snapshot.ready()
    await snapshot.close()
  }
})
await print('has of a core', () => new Hypercore(join(root, 'bee')), 20000, async (core) => { for (let i = 0; i < 20000; i++) await core.has(i % keys) })
await print('list of a drive', openDrive, files, (drive) => through(drive.list('/')))
await print('get of a drive', openDrive, files, async (drive) => { for (let i = 0; i < files; i++) await drive.get(path(i)) })
rmSync(root, { recursive: true })
process.exit(0)

async function used (open, use) {
  const opened = open()
  await opened.ready()
  const before = process.cpuUsage()
  await use(opened)
  const { user, system } = process.cpuUsage(before)
  await opened.close()
  return user + system
}

async function print (what, open, count, use) {
  const took = []
  for (let round = 0; round < 5; round++) took.push(await used(open, use) / count)
  console.log(`${what}\t${took.sort((a, b) => a - b)[2].toPrecision(3)} µs`)
}

async function through (stream) {
  for await (const entry of stream) void entry
}
