// Hyperbee vectors: batches in which compare-and-swap refuses puts and equal values are skipped. Both leave
// marks on the nodes on the way, which show in the blocks that follow.
// See data-common.js for setup and run instructions.
const Corestore = require('corestore')
const Hyperbee = require('hyperbee')
const crypto = require('hypercore-crypto')
const { hex, u8, tmp, source, save, prng, rawBlocks } = require('./data-common')

const PRIMARY = u8(32, (i) => i + 1)

async function main() {
  const runs = []
  for (const mode of [
    { seed: 11, ops: 3000, space: 400, delOneIn: 4, refuseOneIn: 3, values: 1000000, batch: 25, alwaysDuplicate: true },
    { seed: 12, ops: 3000, space: 400, delOneIn: 4, refuseOneIn: 1000000, values: 3, batch: 25, alwaysDuplicate: false },
    { seed: 13, ops: 3000, space: 2000, delOneIn: 3, refuseOneIn: 4, values: 2, batch: 150, alwaysDuplicate: false },
    { seed: 14, ops: 2000, space: 200, delOneIn: 3, refuseOneIn: 2, values: 2, batch: 1, alwaysDuplicate: false }
  ]) {
    const store = new Corestore(tmp(), { primaryKey: PRIMARY, unsafe: true })
    const core = store.get({ name: 'batches' + mode.seed })
    const bee = new Hyperbee(core, { alwaysDuplicate: mode.alwaysDuplicate })
    await bee.ready()
    const rnd = prng(mode.seed)
    let batch = null
    for (let i = 0; i < mode.ops; i++) {
      if (batch === null) batch = bee.batch()
      const key = Buffer.from('key-' + rnd(mode.space))
      const del = rnd(mode.delOneIn) === 0
      const refuse = rnd(mode.refuseOneIn) === 0
      const value = Buffer.from('value-' + rnd(mode.values))
      const opts = refuse ? { cas: () => false } : {}
      if (del) await batch.del(key, opts)
      else await batch.put(key, value, opts)
      if ((i + 1) % mode.batch === 0) {
        await batch.flush()
        batch = null
      }
    }
    if (batch !== null) await batch.flush()
    const raw = await rawBlocks(core)
    runs.push({
      ...mode,
      length: core.length,
      byteLength: core.byteLength,
      blocksHash: hex(crypto.hash(raw.map((b) => Buffer.from(b, 'hex')))),
      treeHash: hex(await core.treeHash())
    })
    await store.close()
  }
  save('hyperbee-batches.json', {
    source: source('hyperbee', 'corestore', 'hypercore'),
    description:
      'Runs given by formula, in batches of "batch" operations. rnd(n) as in hyperbee-stress.json. For each operation, in this order: key = "key-" + rnd(space); del = rnd(delOneIn) == 0; refuse = rnd(refuseOneIn) == 0; value = "value-" + rnd(values). refuse means a cas that answers false, which is asked only for keys that are there. blocksHash = BLAKE2b-256 of all blocks concatenated.',
    runs
  })
}

main()
