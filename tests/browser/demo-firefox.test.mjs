// The demo page in Firefox: the stories that lean most on the browser.

import assert from 'node:assert/strict'
import { join } from 'node:path'
import test from 'node:test'

import { root } from '../../scripts/lib/run.mjs'
import { serveStatic } from '../../scripts/lib/static-server.mjs'
import { defer } from '../interop/support/cleanup.mjs'
import { startTestnet } from '../interop/support/testnet.mjs'
import { lines, PATIENCE_MS, startDemoRelay, startWriter } from './support/demo.mjs'
import { openPage, startBrowser } from './support/browser.mjs'
import { engines } from './support/engines.mjs'
import { joinRoom } from './support/room-peer.mjs'
import { created, startDrive } from './support/works.mjs'

test('firefox: a log is read, proven and there after a reload without a relay', async (t) => {
  const { bootstrap, relay, page } = await startFirefox(t)
  const { key, announce } = await startWriter(t, bootstrap, lines(40))
  await announce()
  await page.fill('key-input', key)
  await page.click('open-log')
  await page.shows('status', { state: 'complete' })
  await page.fill('jump-input', '17')
  await page.shows('verdict', { tone: 'good' })
  await page.click('forge')
  await page.shows('verdict', { tone: 'bad' })

  await relay.process.kill()
  await page.reload()
  await page.shows('status', { state: 'relay-unreachable' })
  await page.shows('held', { text: '40' })
})

test('firefox: a drive as a site and as files, and a room with a peer in Node', async (t) => {
  const { bootstrap, page } = await startFirefox(t)
  await page.evaluate(async () => { await navigator.serviceWorker.ready })
  const { drive } = await startDrive(t, bootstrap)
  await drive.put('/index.html', Buffer.from('<!doctype html><title>Site</title><link rel=stylesheet href=/style.css><h1>A site</h1>'))
  await drive.put('/style.css', Buffer.from('h1 { color: rgb(1, 2, 3) }'))
  await page.click('tab-site')
  await page.fill('site-key-input', drive.id)
  await page.click('open-site')
  await page.until(() => {
    const heading = document.querySelector('[data-testid=site-frame]').contentDocument?.querySelector('h1')
    return heading?.textContent === 'A site' && getComputedStyle(heading).color === 'rgb(1, 2, 3)'
  })
  // With a script, it has an origin of its own, and can still say something.
  await page.evaluate(() => { addEventListener('message', ({ data, origin }) => { if (data?.said) window.said = `${origin}: ${data.said}` }) })
  await drive.put('/index.html', Buffer.from('<!doctype html><title>Site</title><link rel=stylesheet href=/style.css><h1>A site</h1><script>let said = getComputedStyle(document.querySelector("h1")).color; try { parent.document.title = "mine" } catch (error) { said += " " + error.name } parent.postMessage({ said }, "*")</script>'))
  await page.until(() => window.said === 'null: rgb(1, 2, 3) SecurityError')
  await page.click('site-files')
  await page.until(() => document.querySelector('[data-name="style.css"]') !== null)
  await page.evaluate(() => { document.querySelector('[data-name="style.css"]').click() })
  await page.shows('preview-text', { text: 'h1 { color: rgb(1, 2, 3) }' })

  await page.click('tab-room')
  await page.fill('room-name-input', 'Foxes')
  await page.click('create-room')
  await page.until(() => document.querySelector('[data-testid=message]')?.disabled === false)
  const fox = await joinRoom(t, bootstrap, await page.evaluate(() => document.querySelector('[data-testid=room-key]').textContent), 'Fox')
  await page.shows('room-status', { state: 'live' })
  await page.fill('message', 'hello from Firefox')
  await page.click('send')
  await fox.write({ op: 'say', text: 'hello from Node' })
  await page.until(() => [...document.querySelectorAll('[data-testid=message-text]')].length === 2)
  const end = Date.now() + PATIENCE_MS
  while ((await fox.said()).length < 2) assert.ok(Date.now() < end, 'the peer in Node does not hear it')
  assert.ok((await fox.said()).some((line) => line.endsWith(': hello from Firefox')))
})

test('chromium and firefox: a room and a drive from one to the other, both ways', async (t) => {
  const { server, page: fox } = await startFirefox(t)
  const { page: chrome } = await openPage(await startBrowser(t), server.url)
  await chrome.getByTestId('tab-room').click()
  await chrome.getByTestId('room-name-input').fill('Zoo')
  await chrome.getByTestId('create-room').click()
  await chrome.getByTestId('room-title').getByText('Zoo', { exact: true }).waitFor()
  await fox.click('tab-room')
  await fox.fill('room-key-input', chrome.url())
  await fox.click('open-room')
  await fox.shows('room-status', { state: 'live' })
  await fox.fill('message', 'hello from Firefox')
  await fox.click('send')
  await chrome.getByTestId('message-text').getByText('hello from Firefox').waitFor({ timeout: PATIENCE_MS })
  await chrome.getByTestId('message').fill('hello from Chromium')
  await chrome.getByTestId('message').press('Enter')
  await fox.until(() => [...document.querySelectorAll('[data-testid=message-text]')].some(({ textContent }) => textContent === 'hello from Chromium'))

  const id = await created(chrome, 'drive', 'From Chromium')
  await chrome.getByTestId('add-files').setInputFiles({ name: 'note.txt', mimeType: 'text/plain', buffer: Buffer.from('written in Chromium') })
  await chrome.locator('[data-name="note.txt"]').waitFor()
  await fox.click('tab-drive')
  await fox.fill('drive-key-input', id)
  await fox.click('open-drive')
  await fox.until(() => document.querySelector('[data-name="note.txt"]') !== null)
  await fox.evaluate(() => { document.querySelector('[data-name="note.txt"]').click() })
  await fox.shows('preview-text', { text: 'written in Chromium' })
})

/** Opens the page, set to a relay of its own, in Firefox. */
async function startFirefox (t) {
  const { bootstrap } = await startTestnet(t)
  const relay = await startDemoRelay(t, bootstrap)
  const server = await serveStatic({
    '/': join(root, 'web-demo', 'dist'),
    '/config.json': { type: 'application/json; charset=utf-8', body: JSON.stringify({ relay: relay.url }) }
  })
  defer(t, () => server.close())
  const page = await (await engines.firefox(t)).open(server.url)
  return { bootstrap, relay, server, page: { ...page, ...hands(page) } }
}

/** What a person does, for a page that only runs functions. */
function hands (page) {
  const until = async (isSo, ...args) => {
    const end = Date.now() + PATIENCE_MS
    while (!await page.evaluate(isSo, ...args)) {
      assert.ok(Date.now() < end, `${isSo} ${args}: ${await page.evaluate(() => document.querySelector('main').innerText)}`)
      await new Promise((resolve) => { setTimeout(resolve, 100) })
    }
  }
  const isThere = (testid) => document.querySelector(`[data-testid="${testid}"]`) !== null
  return {
    until,
    click: async (testid) => {
      await until(isThere, testid)
      await page.evaluate((testid) => { document.querySelector(`[data-testid="${testid}"]`).click() }, testid)
    },
    /** Fills a field; one that has no button of its own is sent as with Enter. */
    fill: async (testid, text) => {
      await until(isThere, testid)
      await page.evaluate((testid, text) => {
        const field = document.querySelector(`[data-testid="${testid}"]`)
        field.value = text
        field.dispatchEvent(new Event('input', { bubbles: true }))
        if (field.form && !field.form.querySelector('[type=submit]')) field.form.requestSubmit()
      }, testid, text)
    },
    shows: (testid, { text, ...data }) => until((testid, text, data) => {
      const element = document.querySelector(`[data-testid="${testid}"]`)
      return element !== null && (text === null || element.textContent === text) && Object.entries(data).every(([name, value]) => element.dataset[name] === value)
    }, testid, text ?? null, data)
  }
}
