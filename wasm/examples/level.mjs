// A bee under the interface of the Level family.

import { Corestore, Hyperbee, memory } from 'hypertab'
import { BeeLevel } from 'hypertab/level'

const store = new Corestore(memory())
const db = new BeeLevel(() => new Hyperbee(store.get({ name: 'db' })), { valueEncoding: 'json' })
const cities = db.sublevel('cities', { valueEncoding: 'json' })

await db.batch([
  { type: 'put', key: 'version', value: 1 },
  { type: 'put', key: 'Oslo', value: 717710, sublevel: cities },
  { type: 'put', key: 'Bergen', value: 291940, sublevel: cities }
])
console.log(await db.get('version'), await cities.keys({ reverse: true }).all())
await db.close()
await store.close()

// 1 [ 'Oslo', 'Bergen' ]
