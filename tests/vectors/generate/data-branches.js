// Branches of a core: every record of the store after each step of a program.

const Hypercore = require('hypercore')
const crypto = require('hypercore-crypto')
const { hex, tmp, save, source } = require('./data-common')

const seed = Buffer.alloc(32, 5)

// `on` is where a step happens: the log itself, or a branch. A branch is made from the log, or from another branch.
const steps = [
  { does: 'append', on: 'log', blocks: ['a', 'b', 'c'] },
  { does: 'open', on: 'one', from: 'log' },
  { does: 'append', on: 'one', blocks: ['d', 'e'] },
  { does: 'open', on: 'two', from: 'one' },
  { does: 'append', on: 'two', blocks: ['f'] },
  { does: 'truncate', on: 'two', length: 2, fork: 1 },
  { does: 'append', on: 'two', blocks: ['g', 'h'] },
  { does: 'userData', on: 'one', key: 'k', value: 'v' },
  { does: 'commit', on: 'log', source: 'one' },
  { does: 'append', on: 'one', blocks: ['i'] },
  { does: 'truncate', on: 'one', length: 4, fork: 1 },
  { does: 'open', on: 'three', from: 'log', checkout: 1 },
  { does: 'append', on: 'log', blocks: ['j'] },
  { does: 'append', on: 'three', blocks: ['k', 'l'] },
  { does: 'open', on: 'one', from: 'log', overwrite: true },
  { does: 'append', on: 'one', blocks: ['m'] }
]

async function main () {
  const core = new Hypercore(tmp(), { keyPair: crypto.keyPair(seed) })
  await core.ready()
  const sessions = { log: core }
  for (const step of steps) {
    const session = sessions[step.on]
    if (step.does === 'append') await session.append(step.blocks.map((block) => Buffer.from(block)))
    if (step.does === 'truncate') await session.truncate(step.length, step.fork)
    if (step.does === 'userData') await session.setUserData(step.key, Buffer.from(step.value))
    if (step.does === 'commit') await session.commit(sessions[step.source])
    if (step.does === 'open') {
      const { on: name, from, overwrite, checkout } = step
      if (session) await session.close()
      const branch = sessions[from].session({ name, ...(overwrite ? { overwrite } : {}), ...(checkout === undefined ? {} : { checkout }) })
      await branch.ready()
      sessions[name] = branch
    }
    step.records = await records(core)
  }
  save('core-branches.json', {
    source: source('hypercore', 'hypercore-storage'),
    description: 'Steps of a core whose key pair has the seed of 32 bytes 05, and after each of them all records of its store. Times in heads (keys 04 pointer 00; the 8 bytes after a flag of 1) are zeroed, zero bytes at the end of long values are cut off and counted in trailingZeros.',
    seed: hex(seed),
    steps
  })
  for (const session of Object.values(sessions)) await session.close()
}

async function records (core) {
  const all = []
  for await (const { key, value } of core.core.db.db.iterator({ gte: Buffer.from([0]), lt: Buffer.from([0xff]) })) {
    let bytes = hex(value)
    // The head of a log: fork, length, hash, signature, and maybe a time, which is that of the clock.
    const isTimed = key[0] === 4 && key.byteLength === 3 && key[2] === 0 && value[35 + value[34]] === 1
    if (isTimed) bytes = bytes.slice(0, -16) + '0'.repeat(16)
    let zeros = 0
    while (value.byteLength > 256 && bytes.length > 2 && bytes.endsWith('00')) {
      bytes = bytes.slice(0, -2)
      zeros++
    }
    all.push({ key: hex(key), value: bytes, trailingZeros: zeros || undefined })
  }
  return all
}

main()
