// Copies at the relay on the demo page: asked for by a button, read by unmodified peers when the browser is closed, and what the page
// says when there are none.

import assert from 'node:assert/strict'
import test from 'node:test'

import Corestore from 'corestore'
import Hyperbee from 'hyperbee'

import { defer } from '../interop/support/cleanup.mjs'
import { temporaryFolder } from '../interop/support/folder.mjs'
import { figures } from '../interop/support/mirrors.mjs'
import { createSwarm, startTestnet } from '../interop/support/testnet.mjs'
import { openPage, startBrowser } from './support/browser.mjs'
import { appendLine, createLog, hexOf, PATIENCE_MS, pictures, startDemoRelay, startPage, startReader, waitForState } from './support/demo.mjs'
import { created, startDrive, waitForWork } from './support/works.mjs'

test('a drive, a table and a log get copies that are read when the browser is closed, follow what is written, and are taken back', async (t) => {
  const { bootstrap } = await startTestnet(t)
  const relay = await startDemoRelay(t, bootstrap, { args: ['--allow-private', '--mirror-directory', temporaryFolder(t)] })
  const profile = temporaryFolder(t)
  const { server, context, page, problems } = await startPage(t, { relayUrl: relay.url, profile })
  await waitFor(page, 'ready', 'keep what you publish for 30 days')
  await pictures(page, 'copies-offered')
  await page.getByTestId('copies-keep').click()
  await waitFor(page, 'on', 'nothing of your own yet')

  const drive = await created(page, 'drive', 'Field trip')
  await waitForWork(page, 'drive', 'announced', 'serving')
  await page.getByTestId('add-files').setInputFiles({ name: 'notes.txt', mimeType: 'text/plain', buffer: Buffer.from('rain') })
  await page.locator('[data-name="notes.txt"]').waitFor()
  const table = await created(page, 'table', 'Counts')
  await page.getByTestId('row-key').fill('sparrow')
  await page.getByTestId('row-value').fill('12')
  await page.getByTestId('row-save').click()
  await page.locator('[data-key=sparrow]').waitFor()
  await page.getByTestId('tab-logs').click()
  const log = await createLog(page, 'Diary')
  await appendLine(page, 'first')
  await waitForState(page, 'announced', 'serving')
  await waitFor(page, 'on', 'has everything')
  assert.deepEqual(await page.getByTestId('copy').evaluateAll((items) => items.map(({ dataset }) => dataset.state)), ['kept', 'kept', 'kept'])
  assert.match(await page.getByTestId('copy-words').first().textContent(), /^Kept, \d+ B, until \w+ \d+ at least$/)
  await pictures(page, 'copies-kept')

  // What is written later, and after the page was loaded anew, is there as well.
  await page.getByTestId('tab-logs').click()
  await page.getByTestId('known-log').getByText('Diary').click()
  await appendLine(page, 'second')
  await page.reload()
  await page.getByTestId('append-input').waitFor()
  await appendLine(page, 'third')
  await waitFor(page, 'on', 'has everything')
  assert.deepEqual(problems, [])
  await context.close()

  const { drive: copy } = await startDrive(t, bootstrap, drive)
  assert.equal(String(await copy.get('/notes.txt')), 'rain')
  const reader = await startReader(t, hexOf(log))
  await reader.ask('swarm', { bootstrap })
  const { length } = await reader.ask('download', { start: 0, end: 3 })
  assert.equal(length, 3)
  const store = new Corestore(temporaryFolder(t))
  defer(t, () => store.close())
  const bee = new Hyperbee(store.get({ key: Buffer.from(hexOf(table), 'hex') }))
  const swarm = createSwarm(t, { bootstrap })
  swarm.on('connection', (connection) => store.replicate(connection.on('error', () => {})))
  await bee.ready()
  swarm.join(bee.core.discoveryKey, { server: false })
  await bee.core.get(1, { timeout: PATIENCE_MS })
  assert.equal(String((await bee.get(Buffer.from('sparrow'))).value), '12')

  // Whoever has the browser again, with its keys, takes them back.
  const { page: again } = await openPage(await startBrowser(t, { profile }), server.url)
  await waitFor(again, 'on', 'has everything')
  await again.getByTestId('copies-keep').click()
  await waitFor(again, 'ready', 'keep what you publish')
  await again.getByTestId('toast').getByText('no copies of yours any more').waitFor()
  while ((await figures(relay)).cores > 0) await again.waitForTimeout(50)
  assert.equal((await figures(relay))['dropped_total{reason="taken_back"}'], 4)
})

test('a mirror that is full, or that keeps less than there is, says so for each; and one that goes away is waited for', async (t) => {
  const { bootstrap } = await startTestnet(t)
  const folder = temporaryFolder(t)
  const args = ['--allow-private', '--mirror-directory', folder, '--mirror-core-bytes', '100KiB', '--mirror-cores', '3']
  const relay = await startDemoRelay(t, bootstrap, { args })
  const { page } = await startPage(t, { relayUrl: relay.url })
  await created(page, 'drive', 'Large')
  await page.getByTestId('add-files').setInputFiles({ name: 'large.bin', mimeType: 'application/octet-stream', buffer: Buffer.alloc(200_000, 1) })
  await page.locator('[data-name="large.bin"]').waitFor()
  await created(page, 'table', 'Small')
  await waitFor(page, 'ready', 'keep what you publish')
  await page.getByTestId('copies-keep').click()
  const copies = page.getByTestId('copy')
  await copies.filter({ hasText: 'Large' }).and(page.locator('[data-state=stopped]')).waitFor({ timeout: PATIENCE_MS })
  await copies.filter({ hasText: 'Small' }).and(page.locator('[data-state=kept]')).waitFor({ timeout: PATIENCE_MS })
  assert.match(await copies.filter({ hasText: 'Large' }).textContent(), /blocks\. It is larger than the mirror keeps\.$/)

  await created(page, 'table', 'One too many')
  await page.getByTestId('tab-keys').click()
  await copies.filter({ hasText: 'One too many' }).and(page.locator('[data-state=refused]')).waitFor({ timeout: PATIENCE_MS })
  assert.match(await copies.filter({ hasText: 'One too many' }).textContent(), /Refused\. The mirror is full\.$/)
  await pictures(page, 'copies-full')

  await relay.process.kill()
  await waitFor(page, 'no-relay', 'as soon as a relay is connected')
  assert.equal(await page.getByTestId('copies-keep').isVisible(), false, 'nobody could be told')
  await pictures(page, 'copies-relay-gone')
  await startDemoRelay(t, bootstrap, { args, listen: new URL(relay.url).host })
  await waitFor(page, 'on', 'of 3 things')
  await copies.filter({ hasText: 'Small' }).and(page.locator('[data-state=kept]')).waitFor({ timeout: PATIENCE_MS })
})

test('a relay that keeps nothing, and none at all', async (t) => {
  const { bootstrap } = await startTestnet(t)
  const relay = await startDemoRelay(t, bootstrap)
  const { page } = await startPage(t, { relayUrl: relay.url })
  await waitFor(page, 'off', 'keeps no copies')
  assert.equal(await page.getByTestId('copies-keep').isVisible(), false)
  await pictures(page, 'copies-off')
  await page.getByTestId('tab-network').click()
  await page.getByTestId('relay-switch').click()
  await waitFor(page, 'no-relay', 'nobody to ask')
})

/** Waits, in the view of the keys, for what it says of copies. */
async function waitFor (page, state, words) {
  await page.getByTestId('tab-keys').click()
  await page.locator(`[data-testid=copies-card][data-state=${state}]`).getByTestId('copies-words').getByText(words).waitFor({ timeout: PATIENCE_MS })
}
