// A log against a list, in Chromium: whatever is done, both say the same, also when the worker or the page that has the log open
// ends at any moment. What was answered is there then, and of what was not, as much as was begun first.
//
// HYPERTAB_SOAK is how many steps there are, HYPERTAB_SEED which ones, and HYPERTAB_DISK on which of the stores.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'

import { root } from '../../scripts/lib/run.mjs'
import { randomOf } from '../interop/support/torn-file.mjs'
import { openPage, servePackage, startBrowser } from './support/browser.mjs'
import { LogModel } from './support/log-model.mjs'

const STEPS = Number(process.env.HYPERTAB_SOAK ?? 1500)
const SEED = Number(process.env.HYPERTAB_SEED ?? 1)
const STORES = process.env.HYPERTAB_DISK ? [process.env.HYPERTAB_DISK] : ['indexed-db', 'opfs']

/** Steps until the log is looked for again, at most, and steps that may be done while nobody outside is told. */
const RUN = 400
const UNTOLD = 400

const ROUTES = Object.fromEntries(['browser/support/log-model.mjs', 'browser/support/log-model-worker.mjs', 'interop/support/torn-file.mjs']
  .map((path) => [`/${path}`, { type: 'text/javascript', body: readFileSync(join(root, 'tests', path), 'utf8') }]))

for (const store of STORES) {
  test(`${store}: a log and a list, ${STEPS} steps from seed ${SEED}, with crashes`, async (t) => {
    const below = randomOf(SEED)
    const { url } = await servePackage(t, ROUTES)
    const context = await startBrowser(t)
    const job = { store, name: `model-${SEED}` }
    const ends = { finished: 0, terminated: 0, crashed: 0 }
    let told = 0
    const openTab = async () => {
      const { page } = await openPage(context, url)
      page.setDefaultTimeout(0)
      await page.exposeFunction('tell', (done) => { told = done })
      return page
    }

    let page = await openTab()
    let model = new LogModel(SEED)
    while (model.at < STEPS) {
      model = found(model, told, await page.evaluate(openLog, job))
      if (model.at >= STEPS) break
      told = model.at
      const until = Math.min(STEPS, model.at + 1 + below(RUN))
      const end = ['finished', 'terminated', 'terminated', 'terminated', 'crashed'][below(5)]
      const going = page.evaluate(goOn, { seed: SEED, state: model.state, until, end, patience: below(until - model.at), delay: below(4) })
      if (end === 'crashed') {
        const killed = new Promise((resolve) => { page.on('crash', resolve) })
        going.catch(() => {})
        await new Promise((resolve) => { setTimeout(resolve, below(300)) })
        const session = await context.newCDPSession(page)
        session.send('Page.crash').catch(() => {})
        await killed
        await page.close()
        page = await openTab()
      } else {
        told = await going
      }
      ends[end]++
    }
    t.diagnostic(`${store}: ${ends.terminated} workers and ${ends.crashed} pages ended in the midst of it`)
    assert.ok(ends.terminated + ends.crashed > 0)
  })
}

/** The model in the state that the log was found in: no step before `told` is missing. */
function found (model, told, picture) {
  const text = JSON.stringify(picture)
  const candidate = model.clone()
  while (candidate.at < told) candidate.apply(candidate.next())
  const first = candidate.clone()
  for (let steps = 0; steps < UNTOLD + RUN; steps++) {
    if (JSON.stringify(candidate.picture()) === text) return candidate
    candidate.apply(candidate.next())
  }
  assert.deepEqual(picture, first.picture(), `what was found after step ${told} is no state of the log (HYPERTAB_SEED=${SEED} HYPERTAB_SOAK=${STEPS})`)
}

// Runs in the page: opens the log in a worker of its own.
async function openLog (job) {
  const worker = new Worker('/browser/support/log-model-worker.mjs', { type: 'module' })
  globalThis.model = worker
  return await new Promise((resolve, reject) => {
    worker.onerror = (event) => { reject(new Error(event.message)) }
    worker.onmessage = ({ data }) => { data.error ? reject(new Error(data.error)) : resolve(data.value) }
    worker.postMessage({ open: job })
  })
}

// Runs in the page: lets the worker go on until it is done or is ended, and resolves to how many steps were answered.
async function goOn ({ seed, state, until, end, patience, delay }) {
  const worker = globalThis.model
  let done = state.at
  return await new Promise((resolve, reject) => {
    const stop = () => {
      worker.terminate()
      resolve(done)
    }
    worker.onmessage = ({ data }) => {
      if (data.error) return reject(new Error(data.error))
      if (data.value !== undefined) {
        done = data.value
        return stop()
      }
      done = data.done
      void globalThis.tell(done)
      if (end === 'terminated' && done >= state.at + patience) {
        worker.onmessage = ({ data }) => { if (data.done) done = data.done }
        setTimeout(stop, delay)
      }
    }
    worker.postMessage({ go: { seed, state, until } })
  })
}
