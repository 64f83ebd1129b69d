// A log and a copy of it, over any stream that carries bytes: of a swarm, of a socket, or one piped into the other.

import { Corestore, memory } from 'hypertab'

const [here, there] = [new Corestore(memory()), new Corestore(memory())]
const log = here.get({ name: 'log', valueEncoding: 'utf-8' })
await log.append(['hello', 'world'])

const copy = there.get({ key: log.key, valueEncoding: 'utf-8' })
const [one, other] = [here.replicate(true), there.replicate(false)]
one.pipe(other).pipe(one)

console.log(await copy.get(1), copy.writable)
await log.append('again')
console.log(await copy.get(2))

one.destroy()
other.destroy()
await Promise.all([here.close(), there.close()])

// world false
// again
