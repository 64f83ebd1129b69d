// A log of one's own. Only the holder of its key pair can append; anybody who has its key can verify and read it.

import { Hypercore, memory } from 'hypertab'

const log = new Hypercore(memory(), { valueEncoding: 'utf-8' }) // new Hypercore('my-log') keeps it
log.on('append', () => console.log(`now ${log.length} blocks`))

await log.append(['one', 'two', 'three'])
console.log(await log.get(1))
await log.truncate(2)
for await (const block of log.createReadStream()) console.log(block)
await log.close()

// now 3 blocks
// two
// one
// two
