// Tables on the demo page: with an unmodified Hyperbee in Node on the other side.

import assert from 'node:assert/strict'
import test from 'node:test'

import Corestore from 'corestore'
import Hyperbee from 'hyperbee'

import { defer } from '../interop/support/cleanup.mjs'
import { temporaryFolder } from '../interop/support/folder.mjs'
import { createSwarm } from '../interop/support/testnet.mjs'
import { pictures, startDemo } from './support/demo.mjs'
import { openWork, waitForWork } from './support/works.mjs'

test('a table of a Node peer: pages of a range, changes as they happen, older versions and how they differ, offline too', async (t) => {
  const { bootstrap, relay, server, context, page, problems } = await startDemo(t)
  const { bee } = await startBee(t, bootstrap)
  const batch = bee.batch()
  for (let number = 0; number < 400; number++) {
    await batch.put(`n/${String(number).padStart(3, '0')}`, JSON.stringify({ square: number * number }))
  }
  await batch.put('z', 'last')
  await batch.flush()

  await openWork(page, 'table', bee.id)
  await waitForWork(page, 'table', 'live')
  await page.locator('[data-testid=row][data-key="n/049"]').waitFor()
  assert.equal(await page.getByTestId('row').count(), 50)
  await pictures(page, 'table')
  await page.getByTestId('rows-next').click()
  await page.locator('[data-testid=row][data-key="n/099"]').waitFor()
  await page.getByTestId('rows-before').click()
  await page.locator('[data-testid=row][data-key="n/000"]').waitFor()
  await page.getByTestId('table-prefix').fill('n/39')
  await page.locator('[data-testid=row][data-key="n/390"]').waitFor()
  assert.deepEqual(await keys(page), Array.from({ length: 10 }, (_, k) => `n/39${k}`))
  await page.getByTestId('table-from').fill('n/397')
  await page.locator('[data-testid=row][data-key="n/390"]').waitFor({ state: 'detached' })
  assert.deepEqual(await keys(page), ['n/397', 'n/398', 'n/399'])
  await page.locator('label.switch', { has: page.getByTestId('table-reverse') }).click()
  await page.locator('[data-testid=row]:first-child[data-key="n/399"]').waitFor()

  await bee.put('n/3985', 'between')
  await page.locator('[data-testid=row][data-key="n/3985"][data-fresh]').click()
  assert.equal(await page.getByTestId('row-value').inputValue(), 'between')
  await bee.del('n/397')
  await page.locator('[data-testid=row][data-key="n/397"]').waitFor({ state: 'detached' })
  await page.getByTestId('table-change').first().getByText('removed').waitFor()
  await page.getByTestId('diff-older').fill('402')
  await page.getByTestId('diff-newer').fill('404')
  await page.getByTestId('diff-run').click()
  await page.getByTestId('difference').nth(1).waitFor()
  assert.deepEqual(await page.getByTestId('difference').evaluateAll((items) => items.map(({ dataset }) => dataset.sign)), ['−', '+'])
  await pictures(page, 'table-changed')

  await page.getByTestId('table-change').nth(2).click()
  await page.locator('[data-testid=row][data-key="n/397"]').waitFor()
  await page.locator('[data-testid=row][data-key="n/3985"]').waitFor({ state: 'detached' })
  assert.match(await page.getByTestId('table-old').textContent(), /version 402/)
  assert.deepEqual(problems, [])

  await page.evaluate(async () => { await navigator.serviceWorker.ready })
  await bee.close()
  await relay.process.kill()
  await context.setOffline(true)
  await server.close()
  await page.reload()
  await waitForWork(page, 'table', 'offline')
  await page.locator('[data-testid=row][data-key="n/000"]').waitFor()
  await page.getByTestId('table-from').fill('n/250')
  await page.getByTestId('rows-note').getByText('not on this device').waitFor()
  await pictures(page, 'table-offline')
})

/** Starts an upstream bee in a swarm: a new one, or one to read. */
async function startBee (t, bootstrap, key = null) {
  const store = new Corestore(temporaryFolder(t))
  defer(t, () => store.close())
  const bee = new Hyperbee(key ? store.get({ key }) : store.get({ name: 'bee' }), { keyEncoding: 'utf-8', valueEncoding: 'utf-8' })
  await bee.ready()
  const swarm = createSwarm(t, { bootstrap })
  swarm.on('connection', (connection) => {
    connection.on('error', () => {})
    store.replicate(connection)
  })
  const done = bee.core.findingPeers()
  await swarm.join(bee.discoveryKey).flushed()
  swarm.flush().then(done, done)
  return { bee, swarm }
}

async function keys (page) {
  return await page.getByTestId('row').evaluateAll((rows) => rows.map(({ dataset }) => dataset.key))
}
