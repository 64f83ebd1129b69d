// Does to a log what the model says, several steps at once, and looks after each few whether both say the same.

import Hypercore from '/hypertab/browser/hypercore.js'
import { indexedDb, opfs } from '/hypertab/browser/storage.js'

import { randomOf } from '../../interop/support/torn-file.mjs'
import { contentOf, fingerprint, LogModel, pictureOf } from './log-model.mjs'

/** Bursts between two looks at everything, and between two openings. */
const LOOK_EVERY = 60
const OPEN_EVERY = 170

let core = null
let place = null

addEventListener('message', ({ data }) => {
  const work = data.open ? open(data.open) : go(data.go)
  work.then((value) => { postMessage({ value }) }, (error) => { postMessage({ error: `${error.stack ?? error}` }) })
})

/** Opens the log and tells what is in it. */
async function open ({ store, name }) {
  place = () => store === 'opfs' ? opfs(name) : indexedDb(name)
  core = new Hypercore(place())
  await core.ready()
  return await pictureOf(core)
}

/** Takes the steps up to a number, and tells how many are done. */
async function go ({ seed, state, until }) {
  const model = new LogModel(seed, state)
  const below = randomOf((Math.imul(seed, 31) + model.at) & 0xfffff)
  let kept = null
  for (let burst = 1; model.at < until; burst++) {
    await takeSome(model, until, 1 + below(6))
    postMessage({ done: model.at })
    same('length', core.length, model.blocks.length)
    same('byteLength', core.byteLength, model.byteLength)
    same('fork', core.fork, model.fork)
    for (let i = 0; i < 2 && model.blocks.length > 0; i++) await lookAt(core, model, below(model.blocks.length))
    if (below(5) === 0) await seekTo(model, below(model.byteLength + 1))
    if (kept === null && below(20) === 0) {
      kept = { snapshot: core.snapshot(), model: model.clone() }
      await kept.snapshot.ready()
    } else if (kept !== null && below(8) === 0) {
      same('length of a snapshot', kept.snapshot.length, kept.model.blocks.length)
      for (let i = 0; i < 5 && kept.model.blocks.length > 0; i++) await lookBack(kept, below(kept.model.blocks.length))
      await kept.snapshot.close()
      kept = null
    }
    if (burst % LOOK_EVERY === 0) same('everything', JSON.stringify(await pictureOf(core)), JSON.stringify(model.picture()))
    if (burst % OPEN_EVERY === 0) {
      await kept?.snapshot.close()
      kept = null
      await core.close()
      core = new Hypercore(place())
      await core.ready()
    }
  }
  await kept?.snapshot.close()
  await core.close()
  return model.at
}

// Steps are taken in the order of asking, so none has to wait for another; but a cut decides about its fork when it is asked for.
async function takeSome (model, until, count) {
  const taking = []
  let cuts = 0
  while (model.at < until && taking.length < count) {
    const step = model.next()
    if (step.kind === 'truncate' && cuts++ > 0) break
    // What is cleared has to be there when it is asked for.
    if (step.kind === 'clear' && taking.length > 0) break
    taking.push(take(step))
    model.apply(step)
  }
  await Promise.all(taking)
}

async function take (step) {
  if (step.kind === 'append') return await core.append(step.blocks.map(contentOf))
  if (step.kind === 'clear') return await core.clear(step.start, step.end)
  if (step.kind === 'truncate') return await core.truncate(step.length, step.fork)
  return await core.setUserData(step.name, step.value === null ? null : new TextEncoder().encode(step.value))
}

async function lookAt (core, model, index) {
  const block = model.blocks[index]
  const found = await core.get(index, { wait: false })
  same(`block ${index}`, found && fingerprint(found), block.cleared ? null : fingerprint(contentOf(block)))
  same(`has ${index}`, await core.has(index), !block.cleared)
}

/** A snapshot shows blocks that were cut off since, and those that were there when it was taken. */
async function lookBack ({ snapshot, model }, index) {
  const block = model.blocks[index]
  if (block.cleared) return
  const found = await snapshot.get(index, { wait: false })
  same(`block ${index} of a snapshot`, found && fingerprint(found), fingerprint(contentOf(block)))
}

/** Where blocks were cleared, the tree may lack what leads there. */
async function seekTo (model, byte) {
  const found = await core.seek(byte, { wait: false })
  if (found === null || byte >= model.byteLength) return
  let index = 0
  let offset = byte
  while (offset >= model.blocks[index].size) offset -= model.blocks[index++].size
  same(`byte ${byte}`, `${found}`, `${[index, offset]}`)
}

function same (what, found, expected) {
  if (found !== expected) throw new Error(`${what} is ${found}, not ${expected}`)
}
