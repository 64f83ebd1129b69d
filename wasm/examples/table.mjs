// A table whose keys are in order, with every version that it had.

import { Hyperbee, Hypercore, memory } from 'hypertab'

const bee = new Hyperbee(new Hypercore(memory()), { keyEncoding: 'utf-8', valueEncoding: 'json' })
const batch = bee.batch()
for (const [name, height] of [['Kangchenjunga', 8586], ['Everest', 8849], ['K2', 8611]]) await batch.put(name, { height })
await batch.flush()
const before = bee.version

await bee.put('K2', { height: 8612 })
await bee.del('Everest')

for await (const { key, value } of bee.createReadStream({ gte: 'K' })) console.log(key, value.height)
for await (const { left, right } of bee.createDiffStream(before)) console.log(left?.value.height, 'was', right?.value.height)
await bee.close()

// K2 8612
// Kangchenjunga 8586
// undefined was 8849
// 8612 was 8611
