// What every part of the page says when something is in the way: each state is reached as it comes about, pictured, and left again.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import test from 'node:test'

import { defer } from '../interop/support/cleanup.mjs'
import { temporaryFolder } from '../interop/support/folder.mjs'
import { startTestnet } from '../interop/support/testnet.mjs'
import { openPage } from './support/browser.mjs'
import {
  appendLine, createLog, lines, openLog, pictures, readBlocks, startDemo, startDemoRelay,
  startFillablePage, startPage, startWriter, waitForState, waitForText
} from './support/demo.mjs'
import { created, openWork, startDrive, waitForWork } from './support/works.mjs'

/** Where nothing listens. */
const NO_RELAY = 'ws://127.0.0.1:9'

/** A key that nobody has. */
const NOBODY = 'ab'.repeat(32)

test('a relay that takes the call and says nothing: every part says that it is connecting', async (t) => {
  const server = createServer(() => {})
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const sockets = new Set()
  server.on('connection', (socket) => sockets.add(socket.on('error', () => {})))
  defer(t, () => { for (const socket of sockets) socket.destroy(); server.close() })
  const { page } = await startPage(t, { relayUrl: `ws://127.0.0.1:${server.address().port}` })
  await openLog(page, NOBODY)
  await waitForState(page, 'connecting')
  await pictures(page, 'connecting')
  // After a while it says that nobody answers, and goes on trying: each part is looked at from the start.
  for (const kind of ['drive', 'table', 'site']) {
    await openWork(page, kind, NOBODY)
    await page.reload()
    await waitForWork(page, kind, 'connecting')
  }
  await page.getByTestId('tab-room').click()
  await openRoom(page, 'Quiet')
  await page.reload()
  await waitForWork(page, 'room', 'connecting')
  await page.getByTestId('tab-network').click()
  await page.reload()
  await page.locator('[data-testid=network-status][data-state=connecting]').waitFor()
  await pictures(page, 'network-connecting')
})

test('no relay, and one that is switched off: every part says so, and the way on is there', async (t) => {
  const { page } = await startPage(t, { relayUrl: '' })
  for (const kind of ['drive', 'table', 'site']) {
    await openWork(page, kind, NOBODY)
    await waitForWork(page, kind, 'relay-wrong')
    await page.getByTestId(`${kind}-action-settings`).click()
    await page.getByTestId('settings-cancel').click()
  }
  await pictures(page, 'site-no-relay')
  await page.getByTestId('tab-room').click()
  await openRoom(page, 'Quiet')
  await waitForWork(page, 'room', 'relay-wrong')
  await pictures(page, 'room-no-relay')
})

test('two tabs have the same drives, tables, rooms and keys: both write, and either goes on when the other is closed', async (t) => {
  const { page, context, server } = await startPage(t, { relayUrl: NO_RELAY })
  const id = await created(page, 'drive', 'Mine')
  await waitForWork(page, 'drive', 'relay-unreachable')
  await page.getByTestId('add-files').setInputFiles({ name: 'first.txt', mimeType: 'text/plain', buffer: Buffer.from('first') })
  await page.locator('[data-name="first.txt"]').waitFor()

  const { page: second } = await openPage(context, `${server.url}/#/drive/${id}`)
  await second.locator('[data-name="first.txt"]').waitFor()
  await second.getByTestId('add-files').setInputFiles({ name: 'second.txt', mimeType: 'text/plain', buffer: Buffer.from('second') })
  await page.locator('[data-name="second.txt"]').click()
  await page.getByTestId('preview-text').getByText('second', { exact: true }).waitFor()

  await second.getByTestId('tab-room').click()
  await openRoom(second, 'Shared')
  await say(second, 'from the second tab')
  await second.getByTestId('message-text').getByText('from the second tab').waitFor()
  await page.goto(second.url())
  await page.getByTestId('message-text').getByText('from the second tab').waitFor()
  await say(page, 'from the first')
  await second.getByTestId('message-text').getByText('from the first').waitFor()
  await pictures(second, 'room-two-tabs')

  await page.close()
  await say(second, 'alone now')
  await second.getByTestId('message-text').getByText('alone now').waitFor()
  await second.reload()
  await second.getByTestId('message-text').getByText('alone now').waitFor()
  await second.getByTestId('tab-keys').click()
  await second.getByTestId('identity').getByText(/^[a-z0-9]{52}$/).waitFor()
})

test('without Web Locks the tab that came last has the store, and the other one says so', async (t) => {
  const { context, server } = await startPage(t, { relayUrl: NO_RELAY, isOwn: true })
  await context.addInitScript(() => { Object.defineProperty(Navigator.prototype, 'locks', { value: undefined }) })
  const { page } = await openPage(context, `${server.url}/#/room`)
  await openRoom(page, 'One at a time')
  await say(page, 'mine')
  await page.getByTestId('message-text').getByText('mine').waitFor()
  const { page: second } = await openPage(context, page.url())
  await second.getByTestId('message-text').getByText('mine').waitFor()
  await say(page, 'too late')
  await waitForWork(page, 'room', 'locked')
  await pictures(page, 'room-locked')
  await second.close()
  await page.reload()
  await page.getByTestId('message-text').getByText('mine').waitFor()
})

test('a browser that keeps nothing has a page that works, and says so', async (t) => {
  // As when somebody blocks cookies: localStorage throws, databases and locks are refused.
  const profile = temporaryFolder(t)
  mkdirSync(join(profile, 'Default'))
  writeFileSync(join(profile, 'Default', 'Preferences'), JSON.stringify({ profile: { default_content_setting_values: { cookies: 2 } } }))
  const { context, server, page, problems } = await startPage(t, { relayUrl: NO_RELAY, profile, isWhole: true })
  await page.getByTestId('nothing-kept').waitFor()
  await createLog(page, 'For now')
  await appendLine(page, 'one')
  await waitForText(page, 'length', '1')
  assert.deepEqual(await readBlocks(page, 1), ['one'])
  await page.goto(`${server.url}/#/`)
  await page.getByText('For now').first().click()
  assert.deepEqual(await readBlocks(page, 1), ['one'])
  await page.goto(`${server.url}/#/room`)
  await openRoom(page, 'Passing')
  await say(page, 'hello')
  await page.getByTestId('message-text').getByText('hello').waitFor()
  await page.goto(`${server.url}/#/keys`)
  await page.getByTestId('storage-used').getByText('This browser keeps nothing').waitFor()
  await pictures(page, 'nothing-kept')
  assert.deepEqual(problems.filter((problem) => !problem.includes('WebSocket')), [])

  // And where there is none of it.
  const { page: without } = await openPage(context, 'about:blank')
  await without.addInitScript(() => { Object.defineProperty(window, 'localStorage', { value: null }) })
  await without.goto(server.url)
  await without.getByTestId('nothing-kept').waitFor()
  const { page: usual } = await startPage(t, { relayUrl: NO_RELAY })
  assert.equal(await usual.getByTestId('nothing-kept').isVisible(), false)
})

test('a full storage: drives, tables and rooms keep what they have, say so, and go on when there is room', async (t) => {
  const page = await startFillablePage(t, NO_RELAY)
  await page.getByTestId('tab-room').click()
  await openRoom(page, 'Full')
  await say(page, 'kept')
  await page.getByTestId('message-text').getByText('kept').waitFor()
  await page.evaluate(() => { window.isFull = true })
  await say(page, 'too much')
  await waitForWork(page, 'room', 'full')
  assert.equal(await page.getByTestId('message').inputValue(), 'too much')
  assert.deepEqual(await page.getByTestId('message-text').allTextContents(), ['kept'])
  await pictures(page, 'room-full')

  await page.evaluate(() => { window.isFull = false })
  await page.reload()
  await page.getByTestId('message-text').getByText('kept').waitFor()
  await say(page, 'room again')
  await page.getByTestId('message-text').getByText('room again').waitFor()

  await created(page, 'drive', 'Full drive')
  await page.getByTestId('add-files').setInputFiles({ name: 'kept.txt', mimeType: 'text/plain', buffer: Buffer.from('kept') })
  await page.locator('[data-name="kept.txt"]').waitFor()
  await page.evaluate(() => { window.isFull = true })
  await page.getByTestId('add-files').setInputFiles({ name: 'more.bin', mimeType: 'application/octet-stream', buffer: Buffer.alloc(300_000, 1) })
  await page.locator('[data-testid=intake-help][data-tone=bad]').waitFor()
  await waitForWork(page, 'drive', 'full')
  await pictures(page, 'drive-full')
  await page.evaluate(() => { window.isFull = false })
  await page.reload()
  await page.locator('[data-name="kept.txt"]').click()
  await page.getByTestId('preview-text').getByText('kept').waitFor()
})

test('a slow line: how far, how fast, and how long it still takes', async (t) => {
  const { bootstrap } = await startTestnet(t)
  const relay = await startDemoRelay(t, bootstrap)
  const { page, problems } = await startPage(t, { relayUrl: await startSlowLine(t, relay.url, 2_000_000) })
  const { drive } = await startDrive(t, bootstrap)
  await drive.put('/slow.bin', Buffer.from(Uint8Array.from({ length: 16_000_000 }, (_, index) => index * 31 + (index >> 10))))
  await openWork(page, 'drive', drive.id)
  await page.locator('[data-name="slow.bin"]').click()
  // Where a browser has no dialog to save with, a file is kept in memory until all of it is there.
  await page.evaluate(() => { delete window.showSaveFilePicker })
  const download = page.waitForEvent('download', { timeout: 60_000 })
  await page.getByTestId('file-save').click()
  await page.waitForFunction(() => /^Fetching .* of 16.0 MB, \d+\s%, .*\/s, about \d+ (s|min) left$/.test(document.querySelector('[data-testid=file-words]').textContent))
  await pictures(page, 'drive-slow')
  const words = await page.getByTestId('file-words').textContent()
  assert.equal((await stat(await (await download).path())).size, 16_000_000, words)
  assert.deepEqual(problems, [])
})

test('a log with an author who writes slowly: each block as it comes', async (t) => {
  const { bootstrap, page } = await startDemo(t)
  const { writer, key, announce } = await startWriter(t, bootstrap, lines(3))
  await announce()
  await openLog(page, key)
  await waitForText(page, 'held', '3')
  for (let length = 4; length < 7; length++) {
    await writer.ask('append', { blocks: [`line ${length}`] })
    await waitForText(page, 'held', String(length))
  }
  await waitForState(page, 'complete')
})

/** A line to a relay that brings so many bytes a second; returns its address. */
async function startSlowLine (t, relayUrl, rate) {
  const { hostname, port } = new URL(relayUrl)
  const sockets = new Set()
  const server = createServer((near) => {
    const far = connect(Number(port), hostname)
    for (const socket of [near, far]) sockets.add(socket.on('error', () => {}))
    near.pipe(far)
    far.on('data', (chunk) => {
      far.pause()
      near.write(chunk)
      setTimeout(() => far.resume(), chunk.length / rate * 1000)
    })
    far.on('close', () => near.destroy())
    near.on('close', () => far.destroy())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  defer(t, () => { for (const socket of sockets) socket.destroy(); server.close() })
  return `ws://127.0.0.1:${server.address().port}`
}

async function openRoom (page, name) {
  await page.getByTestId('room-name-input').fill(name)
  await page.getByTestId('create-room').click()
  await page.getByTestId('room-title').getByText(name, { exact: true }).waitFor()
}

async function say (page, text) {
  await page.getByTestId('message').fill(text)
  await page.getByTestId('message').press('Enter')
}
