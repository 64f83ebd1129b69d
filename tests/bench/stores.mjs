// Times a store with many open cores: node tests/bench/stores.mjs <hypertab | upstream> [cores]
//
// Each core has a name and a block. What is measured with all of them open should not depend on how many they are. Beside
// the time that passes is that of the processors, which other programs do not lengthen.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const [whose = 'hypertab', cores = '10000'] = process.argv.slice(2)
const count = Number(cores)
const { default: Corestore } = await import(whose === 'upstream' ? 'corestore' : 'hypertab/corestore')

const folder = mkdtempSync(join(tmpdir(), 'stores-'))
const store = new Corestore(folder)
const open = []
const make = async (name) => {
  const core = store.get({ name })
  await core.append('a block')
  return core
}
await print(`make ${count} cores, each awaited`, 1, 's', async () => {
  for (let i = 0; i < count; i++) open.push(await make(`core ${i}`))
})
const some = (i) => open[(i * 7919) % count]
await print('make one more', 200, 'ms', (i) => make(`more ${i}`))
await print('append a block', 200, 'ms', (i) => some(i).append('another'))
await print('get a block', 2000, 'ms', (i) => some(i).get(0))
await print('open and close a session', 2000, 'ms', async (i) => {
  const session = some(i).session()
  await session.ready()
  await session.close()
})
await print('close the store', 1, 's', () => store.close())
const again = new Corestore(folder)
await print(`open ${count} cores at once`, 1, 's', () => Promise.all(open.map((_, i) => again.get({ name: `core ${i}` }).ready())))
await again.close()
rmSync(folder, { recursive: true })

async function print (what, times, unit, run) {
  const [begun, busy] = [performance.now(), processorTime()]
  for (let i = 0; i < times; i++) await run(i)
  const figures = [performance.now() - begun, processorTime() - busy].map((took) => (took / times / (unit === 's' ? 1000 : 1)).toPrecision(3))
  console.log(`${whose}\t${what}\t${figures[0]} ${unit}\t${figures[1]} ${unit} of processor time`)
}

/** Milliseconds that all threads of the process have used. */
function processorTime () {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}
