// Tables on the demo page: with an unmodified Hyperbee in Node on the other side, both ways.

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import test from 'node:test'

import { wordlist } from '@scure/bip39/wordlists/english.js'
import Corestore from 'corestore'
import Hyperbee from 'hyperbee'

import { defer } from '../interop/support/cleanup.mjs'
import { temporaryFolder } from '../interop/support/folder.mjs'
import { createSwarm } from '../interop/support/testnet.mjs'
import { PATIENCE_MS, pictures, startDemo, startPage } from './support/demo.mjs'
import { created, openWork, updated, waitForWork } from './support/works.mjs'

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
  // Whoever comes back from another part of the page finds it as it was.
  await page.getByTestId('tab-network').click()
  await page.goBack()
  await page.locator('[data-testid=row][data-key="n/049"]').waitFor()
  await page.getByTestId('table-change').first().waitFor()
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

test('a table made in the tab is read and followed by a Node peer', async (t) => {
  const { bootstrap, page, problems } = await startDemo(t)
  await page.getByTestId('tab-table').click()
  await pictures(page, 'tables')
  const id = await created(page, 'table', 'Bird counts')
  await waitForWork(page, 'table', 'announced')
  await write(page, 'robin', '3')
  await page.locator('[data-testid=row][data-key=robin]').waitFor()
  await write(page, 'wren', '{"seen":2}')
  await page.locator('[data-testid=row][data-key=wren]').waitFor()

  const { bee } = await startBee(t, bootstrap, id)
  while (bee.version < 3) await updated(bee)
  assert.deepEqual([(await bee.get('robin')).value, (await bee.get('wren')).value], ['3', '{"seen":2}'])
  await waitForWork(page, 'table', 'serving')

  await page.locator('[data-testid=row][data-key=robin]').click()
  await page.getByTestId('row-value').fill('4')
  await page.getByTestId('row-save').click()
  while ((await bee.get('robin')).value !== '4') await updated(bee)
  await page.locator('[data-testid=row][data-key=wren]').click()
  await page.getByTestId('row-remove').click()
  await page.locator('[data-testid=row][data-key=wren]').waitFor({ state: 'detached' })
  while (await bee.get('wren')) await updated(bee)
  await pictures(page, 'table-own')

  await page.reload()
  await page.locator('[data-testid=row][data-key=robin]').waitFor()
  await write(page, 'owl', '1')
  await page.locator('[data-testid=row][data-key=owl]').waitFor()
  assert.deepEqual(problems, [])
})

test('the network: who is connected, the relay switched off and on again; the keys: exported, and imported in another browser', async (t) => {
  const { bootstrap, relay, page, problems } = await startDemo(t)
  const { bee, swarm } = await startBee(t, bootstrap)
  await bee.put('a', '1')
  await openWork(page, 'table', bee.id)
  await waitForWork(page, 'table', 'live')
  await page.getByTestId('tab-network').click()
  await page.getByTestId('connection').waitFor()
  assert.match(await page.getByTestId('connection').textContent(), new RegExp(`relay ${new URL(relay.url).host}`))
  assert.match(await page.getByTestId('connection-way').textContent(), /the other end is no browser$/)
  await page.getByTestId('network-status').getByText(/[\d.]+ ms there and back/).waitFor()
  await pictures(page, 'network')
  await page.getByTestId('inspector-card').locator('summary').first().click()
  const inspector = page.locator('hypertab-inspector')
  await inspector.locator('details', { hasText: /1 of 1|2 of 2/ }).waitFor()
  await inspector.locator('details summary').first().click()
  assert.equal(await inspector.locator('[part=network-state]').textContent(), new URL(relay.url).host)
  await inspector.locator('[part=connections] tr').waitFor()
  await pictures(page, 'network-inspector')
  await page.getByTestId('inspector-card').locator('summary').first().click()
  await inspector.waitFor({ state: 'detached' })
  await page.getByTestId('relay-switch').click()
  await page.locator('[data-testid=network-status][data-state=off]').waitFor()
  await page.getByTestId('connection').waitFor({ state: 'detached' })
  await pictures(page, 'network-off')
  while (swarm.connections.size > 0) await new Promise((resolve) => { setTimeout(resolve, 50) })
  await bee.put('b', '2')
  await page.getByTestId('relay-switch').click()
  await page.getByTestId('connection').waitFor()
  await page.getByTestId('tab-table').click()
  await page.getByTestId('known-table').locator('a').click()
  await page.locator('[data-testid=row][data-key=b]').waitFor()

  const id = await created(page, 'table', 'Mine')
  await waitForWork(page, 'table', 'announced')
  await write(page, 'k', 'v')
  await page.locator('[data-testid=row][data-key=k]').waitFor()
  await page.getByTestId('tab-keys').click()
  await page.getByTestId('identity').getByText(/^[a-z0-9]{52}$/).waitFor()
  const identity = await page.getByTestId('identity').textContent()
  await pictures(page, 'keys')
  const download = page.waitForEvent('download')
  await page.getByTestId('export-identity').click()
  const path = await (await download).path()

  const { page: other } = await startPage(t, { relayUrl: relay.url })
  await other.getByTestId('tab-keys').click()
  await other.getByTestId('identity').getByText(/^[a-z0-9]{52}$/).waitFor()
  assert.notEqual(await other.getByTestId('identity').textContent(), identity)
  await other.getByTestId('import-identity').setInputFiles(path)
  await other.getByTestId('identity').getByText(identity, { exact: true }).waitFor()
  await other.getByTestId('tab-table').click()
  await other.getByTestId('known-table').locator('a').click()
  // What was written elsewhere comes before anything can be written here.
  await other.locator('[data-testid=row][data-key=k]').waitFor()
  assert.equal(await other.getByTestId('table-key').textContent(), id)
  await other.getByTestId('row-save').waitFor()
  assert.deepEqual(problems, [])
})

test('the key as words: written down, and typed in on another device, with what is wrong about them', async (t) => {
  const { page, problems } = await startPage(t, { relayUrl: 'ws://127.0.0.1:9' })
  await page.getByTestId('tab-keys').click()
  await page.getByTestId('identity').getByText(/^[a-z0-9]{52}$/).waitFor()
  const identity = await page.getByTestId('identity').textContent()
  await page.getByTestId('show-words').click()
  await page.getByTestId('word').nth(23).waitFor()
  const words = await page.getByTestId('word').allTextContents()
  assert.equal(words.length, 24)
  // The words are BIP-39's of the key that the file has.
  await pictures(page, 'keys-words')
  await page.getByTestId('words-close').click()
  await page.getByTestId('word').first().waitFor({ state: 'detached' })
  const download = page.waitForEvent('download')
  await page.getByTestId('export-identity').click()
  const { primaryKey } = JSON.parse(readFileSync(await (await download).path(), 'utf8'))
  assert.equal(keyOfWords(words), primaryKey)

  const { page: other } = await startPage(t, { relayUrl: 'ws://127.0.0.1:9' })
  await other.getByTestId('tab-keys').click()
  await other.getByTestId('identity').getByText(/^[a-z0-9]{52}$/).waitFor()
  await other.getByTestId('import-words').click()
  for (const [text, wrong] of [
    ['', /0 words, and a key has 24/],
    [words.with(3, 'abondon').join(' '), /“abondon” is none of the words. Could it be “abandon”/],
    [words.slice(1).join(' '), /23 words/],
    [words.with(5, words[5] === 'zoo' ? 'zone' : 'zoo').join(' '), /do not belong together/]
  ]) {
    await other.getByTestId('words-input').fill(text)
    await other.getByTestId('words-import').click()
    await other.getByTestId('words-help').getByText(wrong).waitFor()
  }
  await pictures(other, 'keys-words-wrong')
  await other.getByTestId('words-input').fill(words.map((word, index) => `${index + 1}. ${word.toUpperCase()}`).join(',\n'))
  await other.getByTestId('words-import').click()
  await other.getByTestId('identity').getByText(identity, { exact: true }).waitFor()
  assert.deepEqual(problems.filter((problem) => !/ERR_CONNECTION_REFUSED|ERR_UNSAFE_PORT/.test(problem)), [])
})

test('a key that was typed in as words finds its drives and tables on the other device, and writes on once it has caught up', async (t) => {
  const { relay, page, problems } = await startDemo(t)
  const id = await created(page, 'table', 'Both')
  await waitForWork(page, 'table', 'announced')
  await write(page, 'one', 'first device')
  await page.locator('[data-testid=row][data-key=one]').waitFor()
  await page.getByTestId('tab-keys').click()
  await page.getByTestId('show-words').click()
  await page.getByTestId('word').nth(23).waitFor()
  const words = await page.getByTestId('word').allTextContents()
  await page.getByTestId('words-close').click()

  const { page: other } = await startPage(t, { relayUrl: relay.url })
  await other.getByTestId('tab-keys').click()
  await other.getByTestId('import-words').click()
  await other.getByTestId('words-input').fill(words.join(' '))
  await other.getByTestId('words-import').click()
  await other.getByTestId('devices').getByText(/^1 other device/).waitFor({ timeout: PATIENCE_MS })
  await page.getByTestId('devices').getByText(/^1 other device/).waitFor({ timeout: PATIENCE_MS })
  await other.getByTestId('tab-table').click()
  await other.getByTestId('known-table').locator('a').filter({ hasText: /Both.*yours/ }).click()
  await other.locator('[data-testid=row][data-key=one]').waitFor({ timeout: PATIENCE_MS })
  assert.equal(await other.getByTestId('table-key').textContent(), id)
  await other.getByTestId('row-save').waitFor({ timeout: PATIENCE_MS })
  await write(other, 'two', 'second device')
  await other.locator('[data-testid=row][data-key=two]').waitFor()
  // It is the same table, whoever of the two wrote.
  await page.getByTestId('tab-table').click()
  await page.getByTestId('known-table').locator('a').click()
  await page.locator('[data-testid=row][data-key=two]').waitFor({ timeout: PATIENCE_MS })

  // What is made later comes by itself; what is removed here stays removed here.
  await created(page, 'drive', 'Later')
  await other.getByTestId('tab-drive').click()
  await other.getByTestId('known-drive').filter({ hasText: 'Later' }).waitFor({ timeout: PATIENCE_MS })
  await other.getByTestId('known-drive-remove').click()
  await other.getByTestId('confirm-yes').click()
  await other.getByTestId('known-drives-empty').waitFor()
  await other.reload()
  await other.getByTestId('tab-keys').click()
  await other.getByTestId('devices').getByText(/^1 other device/).waitFor({ timeout: PATIENCE_MS })
  await other.getByTestId('tab-drive').click()
  await other.getByTestId('known-drives-empty').waitFor()
  assert.deepEqual(problems, [])
})

/** The bytes of 24 words, by the standard's own rules and the list that the page brings. */
function keyOfWords (words) {
  const bits = words.map((word) => wordlist.indexOf(word).toString(2).padStart(11, '0')).join('')
  const key = Buffer.from(bits.slice(0, 256).match(/.{8}/g).map((byte) => parseInt(byte, 2)))
  assert.equal(parseInt(bits.slice(256), 2), createHash('sha256').update(key).digest()[0])
  return key.toString('hex')
}

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

async function write (page, key, value) {
  await page.getByTestId('row-key').fill(key)
  await page.getByTestId('row-value').fill(value)
  await page.getByTestId('row-save').click()
}

async function keys (page) {
  return await page.getByTestId('row').evaluateAll((rows) => rows.map(({ dataset }) => dataset.key))
}
