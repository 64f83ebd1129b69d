// The demo page as a person uses it.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

import { root } from '../../../scripts/lib/run.mjs'
import { serveStatic } from '../../../scripts/lib/static-server.mjs'
import { defer } from '../../interop/support/cleanup.mjs'
import { startProcess } from '../../interop/support/process.mjs'
import { startRelay } from '../../interop/support/relay.mjs'
import { startTestnet } from '../../interop/support/testnet.mjs'
import { checkAccess } from './access.mjs'
import { openPage, screenshot, startBrowser } from './browser.mjs'

const peerProgram = fileURLToPath(new URL('../../interop/support/peer.mjs', import.meta.url))

/** How long a page may take to find a peer and do something with it, in milliseconds. */
export const PATIENCE_MS = 45_000

/** Starts a test network, a relay into it, and the page set to that relay. */
export async function startDemo (t, options = {}) {
  const { bootstrap } = await startTestnet(t)
  const relay = await startDemoRelay(t, bootstrap)
  return { bootstrap, relay, ...await startPage(t, { relayUrl: relay.url, ...options }) }
}

/** Starts a relay that may reach peers on loopback. */
export async function startDemoRelay (t, bootstrap, options = {}) {
  return await startRelay(t, { bootstrap, args: ['--allow-private'], ...options })
}

/** Serves the built page with its `config.json`, and opens it in a browser. */
export async function startPage (t, { relayUrl, path = '/', profile, isOwn, isWhole } = {}) {
  const server = await serveStatic({
    '/': join(root, 'web-demo', 'dist'),
    '/config.json': { type: 'application/json; charset=utf-8', body: JSON.stringify({ relay: relayUrl }) }
  })
  defer(t, () => server.close())
  const context = await startBrowser(t, { profile, isOwn, isWhole })
  const { page, problems } = await openPage(context, server.url + path)
  return { server, context, page, problems }
}

/** Serves and opens the page with a disk that is full while the page's `isFull` is true. */
export async function startFillablePage (t, relayUrl) {
  const { context, server } = await startPage(t, { relayUrl })
  const page = await context.newPage()
  await page.addInitScript(() => {
    for (const name of ['add', 'put']) {
      const write = IDBObjectStore.prototype[name]
      IDBObjectStore.prototype[name] = function (...args) {
        if (window.isFull) throw new DOMException('no room', 'QuotaExceededError')
        return write.apply(this, args)
      }
    }
  })
  await page.goto(server.url)
  return page
}

/** Starts an upstream peer with a log of these lines, not announced yet; returns also the log's key, as hex. */
export async function startWriter (t, bootstrap, blocks) {
  const writer = startProcess(t, 'node', [peerProgram])
  const { key } = await writer.ask('open')
  await writer.ask('append', { blocks })
  return { writer, key, announce: () => writer.ask('swarm', { bootstrap }) }
}

/** Starts an upstream peer that has nothing yet of the log with this key, as hex. */
export async function startReader (t, key) {
  const reader = startProcess(t, 'node', [peerProgram])
  await reader.ask('open', { key })
  return reader
}

/** Returns distinct lines. */
export function lines (count, from = 0) {
  return Array.from({ length: count }, (_, index) => `line ${from + index}: ${'abcdefghij'[index % 10].repeat(index % 50)}`)
}

/** Pastes a key into the page. */
export async function openLog (page, key) {
  await page.getByTestId('key-input').fill(key)
  await page.getByTestId('open-log').click()
}

/** Makes a log of one's own and returns its key. */
export async function createLog (page, name) {
  await page.getByTestId('name-input').fill(name)
  await page.getByTestId('create-log').click()
  await page.getByTestId('append-input').waitFor()
  return await page.getByTestId('log-key').textContent()
}

/** Appends a line to the log that is shown. */
export async function appendLine (page, line) {
  await page.getByTestId('append-input').fill(line)
  await page.getByTestId('append-input').press('Enter')
}

/** Waits until the log that is shown is in one of these states. */
export async function waitForState (page, ...states) {
  const selector = states.map((state) => `[data-testid=status][data-state=${state}]`).join(', ')
  try {
    await page.locator(selector).waitFor({ timeout: PATIENCE_MS })
  } catch (error) {
    throw new Error(`the page is not ${states.join(' or ')}: ${await describe(page)}\n${error.message}`)
  }
}

/** Waits until an element's text is this. */
export async function waitForText (page, testid, text) {
  try {
    await page.getByTestId(testid).and(page.getByText(text, { exact: true })).waitFor({ timeout: PATIENCE_MS })
  } catch (error) {
    throw new Error(`${testid} is not ${text}: ${await describe(page)}\n${error.message}`)
  }
}

/** Says what the page shows, for the message of a failure. */
export async function describe (page) {
  const text = async (testid) => await page.getByTestId(testid).textContent({ timeout: 1000 }).catch(() => '?')
  return `${await text('status-title')}. ${await text('status-detail')} Length ${await text('length')}, held ${await text('held')}, ` +
    `peers ${await text('peers')}, relay: ${await text('relay-words')}, events: ${await text('events')}`
}

/** Reads every block through the page, one after the other, as a person with the arrow keys. */
export async function readBlocks (page, count) {
  await page.getByTestId('jump-input').fill('0')
  await page.getByTestId('jump-input').press('Enter')
  await page.getByTestId('block-list').focus()
  const blocks = []
  for (let index = 0; index < count; index++) {
    if (index > 0) await page.keyboard.press('ArrowDown')
    blocks.push(await page.waitForFunction((index) => {
      const [title, save, body] = ['reader-title', 'reader-save', 'reader-body'].map((id) => document.getElementById(id))
      const isThis = title.textContent.startsWith(`Block ${new Intl.NumberFormat('en').format(index)} ·`)
      return isThis && !save.disabled ? { text: body.textContent } : null
    }, index).then(async (handle) => (await handle.jsonValue()).text))
  }
  return blocks
}

/**
 * Pictures of the page as it is, light on a desktop and dark on a phone; nothing in it may be hard to use for anybody. A layout says
 * nothing of colours, and to look at one costs more than a second of a processor: each layout and each scheme is looked at once.
 */
export async function pictures (page, name) {
  const before = page.viewportSize()
  for (const [device, colorScheme, size] of LOOKS) {
    await page.setViewportSize(size)
    await page.emulateMedia({ colorScheme })
    await page.evaluate(() => { scrollTo(0, 0) })
    await screenshot(page, `demo-${name}-${device}-${colorScheme}`)
    assert.deepEqual(await page.evaluate(cutTabs), [], `${name} on a ${device}: parts of the page that are not to be seen whole`)
    await checkAccess(page, `${name} on a ${device}, ${colorScheme}`)
  }
  await page.setViewportSize(before)
  await page.emulateMedia({ colorScheme: null })
}

/** Runs in a page: the links to its parts that reach out of their row. */
function cutTabs () {
  const { right } = document.querySelector('.tabs').getBoundingClientRect()
  return [...document.querySelectorAll('.tabs a')].filter((link) => link.getBoundingClientRect().right > right + 1).map(({ textContent }) => textContent)
}

/** @type {['desktop' | 'phone', 'light' | 'dark', { width: number, height: number }][]} */
const LOOKS = [['desktop', 'light', { width: 1280, height: 800 }], ['phone', 'dark', { width: 360, height: 800 }]]

/** Writes the 52 characters of a key as hex. */
export function hexOf (id) {
  let bits = ''
  for (const character of id) bits += 'ybndrfg8ejkmcpqxot1uwisza345h769'.indexOf(character).toString(2).padStart(5, '0')
  return Array.from({ length: 32 }, (_, index) => parseInt(bits.slice(index * 8, index * 8 + 8), 2).toString(16).padStart(2, '0')).join('')
}

/** The page as it was built. */
export function builtPage () {
  return readFileSync(join(root, 'web-demo', 'dist', 'index.html'), 'utf8')
}
