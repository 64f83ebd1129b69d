// What the page says when something is wrong, and that nothing stored is lost by it.

import assert from 'node:assert/strict'
import test from 'node:test'

import { openPage } from './support/browser.mjs'
import {
  appendLine, builtPage, createLog, describe, lines, openLog, pictures, readBlocks,
  startDemo, startDemoRelay, startFillablePage, startPage, startReader, startWriter, waitForState, waitForText
} from './support/demo.mjs'

/** A key that nobody has. */
const NOBODY = 'ab'.repeat(32)

/** Where nothing listens. */
const NO_RELAY = 'ws://127.0.0.1:9'

test('a wrong key is refused with what is wrong about it', async (t) => {
  const { page } = await startPage(t, { relayUrl: NO_RELAY })
  for (const [key, words] of [
    ['', /Paste the key/],
    ['hyper://abc', /has 3 characters/],
    ['l'.repeat(52), /“l” cannot be in a key/],
    [NOBODY + '0', /65 characters.*64 hex digits/]
  ]) {
    await openLog(page, key)
    assert.match(await page.getByTestId('key-help').textContent(), words)
  }
  await pictures(page, 'wrong-key')
  await page.getByTestId('key-input').fill('a')
  assert.doesNotMatch(await page.getByTestId('key-help').textContent(), /cannot|Paste/)
})

test('an address that is no relay’s is named, in the settings and in the address bar', async (t) => {
  const { page } = await startPage(t, { relayUrl: NO_RELAY, path: '/?relay=http://127.0.0.1:9' })
  await openLog(page, NOBODY)
  await waitForState(page, 'relay-wrong')
  assert.match(await page.getByTestId('status-detail').textContent(), /begins with ws:\/\/ or wss:\/\//)
  await pictures(page, 'relay-wrong')

  await page.getByTestId('open-settings').click()
  await page.getByTestId('relay-input').fill('nonsense')
  await page.getByTestId('settings-save').click()
  assert.match(await page.getByTestId('relay-help').textContent(), /“nonsense” is not an address/)
  await pictures(page, 'settings')
})

test('a relay that does not answer is named, and another can be set', async (t) => {
  const { page, relay } = await startDemo(t, { path: `/?relay=${NO_RELAY}` })
  await openLog(page, NOBODY)
  await waitForState(page, 'relay-unreachable')
  assert.match(await page.getByTestId('status-detail').textContent(), /127\.0\.0\.1:9\b/)
  await pictures(page, 'relay-unreachable')

  await page.getByTestId('action-settings').click()
  await page.getByTestId('relay-input').fill(relay.url)
  await page.getByTestId('settings-save').click()
  await waitForState(page, 'searching', 'no-peers')
})

test('a log that nobody has: the page says so and goes on looking', async (t) => {
  const { page, problems, bootstrap } = await startDemo(t)
  const { key, announce } = await startWriter(t, bootstrap, lines(5))
  await openLog(page, key)
  await waitForState(page, 'no-peers')
  await pictures(page, 'no-peers')
  assert.deepEqual(problems, [])

  await announce()
  await waitForState(page, 'complete')
})

test('a relay that goes away comes back by itself, and the log goes on', async (t) => {
  const { page, relay, bootstrap } = await startDemo(t)
  const { writer, key, announce } = await startWriter(t, bootstrap, lines(20))
  await announce()
  await openLog(page, key)
  await waitForState(page, 'complete')

  await relay.process.kill()
  await waitForState(page, 'relay-gone')
  assert.match(await page.getByTestId('status-detail').textContent(), /All 20 blocks are on this device/)
  assert.deepEqual(await readBlocks(page, 20), lines(20))
  await pictures(page, 'relay-gone')

  await writer.ask('append', { blocks: lines(10, 20) })
  await startDemoRelay(t, bootstrap, { listen: new URL(relay.url).host })
  await waitForText(page, 'held', '30')
  await waitForState(page, 'complete')
})

test('a forged block is refused and its sender named; what was stored stays, and an honest peer completes it', async (t) => {
  const { page, bootstrap } = await startDemo(t)
  const { writer, key, announce } = await startWriter(t, bootstrap, lines(30))
  await announce()
  const honest = await startReader(t, key)
  await honest.ask('swarm', { bootstrap, server: false })
  await honest.ask('download', { end: 30 })
  await writer.ask('forge', { indexes: [17] })

  await openLog(page, key)
  await page.getByTestId('refusal').waitFor({ timeout: 45_000 }).catch(async (error) => {
    throw new Error(`${await describe(page)}\n${error.message}`)
  })
  assert.match(await page.getByTestId('refusal').textContent(), /forged.*[a-z0-9]{6}….{4} sent block 17/is)
  await waitForState(page, 'stalled')
  await pictures(page, 'forged')

  const held = Number(await page.getByTestId('held').textContent())
  assert.ok(held < 30, `${held} blocks are held, the forged one among them`)
  await page.reload()
  await page.waitForFunction((held) => Number(document.getElementById('figure-held').textContent) >= held, held)

  await honest.ask('swarm', { bootstrap })
  await waitForState(page, 'complete')
  assert.deepEqual(await readBlocks(page, 30), lines(30))
})

test('a log that is open in another tab is open here, too, and stays when that tab is gone', async (t) => {
  const { page, context, server } = await startPage(t, { relayUrl: NO_RELAY })
  await openLog(page, NOBODY)
  await waitForState(page, 'relay-unreachable')

  const { page: second } = await openPage(context, server.url)
  await openLog(second, NOBODY)
  await waitForState(second, 'relay-unreachable')

  await page.close()
  await second.reload()
  await waitForState(second, 'relay-unreachable')
})

test('a browser that refuses to store is named', async (t) => {
  const { context, server } = await startPage(t, { relayUrl: NO_RELAY })
  const page = await context.newPage()
  await page.addInitScript(() => {
    IDBFactory.prototype.open = () => { throw new DOMException('The user denied permission', 'SecurityError') }
  })
  await page.goto(server.url)
  await openLog(page, NOBODY)
  await waitForState(page, 'refused')
  await pictures(page, 'storage-refused')
})

test('a full storage is named, keeps what it has, and goes on when there is room', async (t) => {
  const page = await startFillablePage(t, NO_RELAY)
  await createLog(page, 'Full')
  await appendLine(page, 'kept')
  await waitForText(page, 'length', '1')

  await page.evaluate(() => { window.isFull = true })
  await appendLine(page, 'too much')
  await waitForState(page, 'full')
  await page.getByTestId('append-help').filter({ hasText: /^Not appended/ }).waitFor()
  assert.equal(await page.getByTestId('append-input').inputValue(), 'too much')
  assert.deepEqual(await readBlocks(page, 1), ['kept'])
  await pictures(page, 'storage-full')

  await page.evaluate(() => { window.isFull = false })
  await page.getByTestId('action-retry').click()
  await waitForState(page, 'relay-unreachable')
  await appendLine(page, 'there is room again')
  await waitForText(page, 'length', '2')
  assert.deepEqual(await readBlocks(page, 2), ['kept', 'there is room again'])
})

test('the built page has no inline code and asks no other host', () => {
  const html = builtPage()

  assert.match(html, /http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'self' 'wasm-unsafe-eval'/)
  assert.doesNotMatch(html, /<script(?![^>]*\bsrc=)/)
  assert.doesNotMatch(html, /\b(?:src|href)="(?:https?:)?\/\//)
  assert.doesNotMatch(html, /\bstyle="/)
})
