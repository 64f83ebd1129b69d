// What upstream's newest Hypercore and Corestore do beside those that the package follows: the same programs, with the newest
// on either side.

import { eventually } from './support/both.mjs'
import { sameWithEveryPairOfLatestStores } from './support/stores.mjs'

const seed = (byte) => Buffer.alloc(32, byte)
const unsafe = (primaryKey = seed(1)) => ({ primaryKey, unsafe: true })
const blocks = (length) => Array.from({ length }, (_, index) => `block ${index}`)

sameWithEveryPairOfLatestStores('blocks, cuts and new blocks', async ({ createA, createB, note, replicate }) => {
  const [a, b] = [createA(null, unsafe()), createB(null, unsafe(seed(2)))]
  const core = a.get({ name: 'a' })
  await core.append(blocks(40))
  const copy = b.get({ key: core.key })
  replicate(a, b)
  note(String(await copy.get(7)), copy.length, await copy.has(8))
  await copy.download({ start: 0, end: 40 }).done()
  note(copy.contiguousLength, copy.byteLength, await copy.treeHash(), await copy.seek(100))
  await core.truncate(30)
  await core.append(['other', 'history'])
  await eventually(() => copy.fork === 1 && copy.length === 32)
  note(String(await copy.get(31)), await copy.treeHash())
  const own = b.get({ name: 'b' })
  await own.append('back')
  note(String(await a.get({ key: own.key }).get(0)))
})
