// Chromium, started the way it has to be started on a machine that is cut off from the network.

import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach } from 'node:test'
import { setTimeout } from 'node:timers/promises'

import { chromium } from 'playwright-core'

import { root } from '../../../scripts/lib/run.mjs'
import { serveStatic } from '../../../scripts/lib/static-server.mjs'
import { ensureBrowser, ensureHeadlessShell } from '../../../scripts/setup.mjs'
import { defer } from '../../interop/support/cleanup.mjs'
import { temporaryFolder } from '../../interop/support/folder.mjs'

// Root cannot have Chromium's sandbox. The rest keeps Chromium from calling home, which a closed network
// answers with hundreds of refused connections.
export const FLAGS = [
  ...(process.getuid?.() === 0 ? ['--no-sandbox'] : []),
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-gpu',
  '--disable-quic',
  '--disable-sync',
  '--no-first-run'
]

/** How long a page may take for one step, in milliseconds. */
const PATIENCE_MS = 20_000

/** Longest that nobody has a browser between two tests of a file, in milliseconds; after that there was none to come. */
const IDLE_MS = 300

/** Longest that the pages of a test may take to close, in milliseconds. */
const CLEAR_MS = 10_000

/** Browsers that no test has at the moment, each with what ends it. */
const idle = new Map()

/** @type {NodeJS.Timeout | undefined} */
let idleTimer

// The next test may take a while until it wants a browser, or want none.
beforeEach(() => { clearTimeout(idleTimer) })
afterEach(watchIdle)

/**
 * Chromium with a profile on disk. To start one takes seconds of a processor: a test gets one that an earlier test of its file has given
 * back, without pages and without what they stored. `profile` or `isOwn` make one for this test alone, which closes with it.
 *
 * @param {import('node:test').TestContext} t
 * @param {object} [options]
 * @param {string} [options.profile] a folder to start with, to come back to what an earlier browser stored
 * @param {boolean} [options.isOwn] for a test that changes what stays with the browser, as scripts that each of its pages runs
 * @param {boolean} [options.isWhole] for a test of what the headless shell has not, as settings of a profile; such a browser is its own
 * @returns {Promise<import('playwright-core').BrowserContext>}
 */
export async function startBrowser (t, { profile, isWhole = false, isOwn = isWhole || profile !== undefined } = {}) {
  if (isOwn) return await launch(t, { profile, isWhole })
  let [[context, end] = []] = idle
  idle.delete(context)
  if (context === undefined) {
    /** @type {import('../../interop/support/cleanup.mjs').Life} */
    const life = { after: (undo) => { end = undo } }
    context = await launch(life)
  }
  context.setDefaultTimeout(PATIENCE_MS)
  defer(t, () => giveBack(context, end))
  return context
}

async function launch (life, { profile = temporaryFolder(life), isWhole = false } = {}) {
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: isWhole ? await ensureBrowser() : await ensureHeadlessShell(),
    args: FLAGS,
    headless: true,
    viewport: { width: 1200, height: 900 }
  })
  context.setDefaultTimeout(PATIENCE_MS)
  defer(life, () => context.close())
  // A browser without pages ends.
  const [blank] = context.pages()
  opened.set(context, { blank, origins: new Set() })
  context.on('close', () => { opened.delete(context) })
  context.on('page', (page) => {
    page.on('framenavigated', (frame) => {
      const { protocol, origin } = new URL(frame.url())
      if (protocol === 'http:') opened.get(context)?.origins.add(origin)
    })
  })
  return context
}

/** The first page of each browser, and the origins that pages of it were at. */
const opened = new Map()

/** Takes a browser back from a test, unless the test has closed it or left something in it that does not end. */
async function giveBack (context, end) {
  const isClear = opened.has(context) && await Promise.race([clear(context).then(() => true, () => false), setTimeout(CLEAR_MS, false, { ref: false })])
  if (!isClear) return await end()
  idle.set(context, end)
  watchIdle()
}

async function clear (context) {
  const { blank, origins } = opened.get(context)
  await Promise.all(context.pages().filter((page) => page !== blank).map((page) => page.close()))
  await context.setOffline(false)
  const session = await context.newCDPSession(blank)
  // Another test may be served at a port that this one was served at.
  for (const origin of origins) await session.send('Storage.clearDataForOrigin', { origin, storageTypes: 'all' })
  await session.detach()
  origins.clear()
}

function watchIdle () {
  clearTimeout(idleTimer)
  if (idle.size > 0) idleTimer = globalThis.setTimeout(endIdle, IDLE_MS)
}

// Not at the end of the file: that comes once nothing is left that runs, and a browser is something that runs.
async function endIdle () {
  const ends = [...idle.values()]
  idle.clear()
  await Promise.all(ends.map((end) => end()))
}

/**
 * Opens a page and notes what goes wrong on it.
 *
 * @returns {Promise<{ page: import('playwright-core').Page, problems: string[] }>} `problems` grows: uncaught
 *   errors, and what the console holds as an error or a warning
 */
export async function openPage (context, url) {
  const page = await context.newPage()
  const problems = []
  page.on('pageerror', (error) => problems.push(String(error.stack ?? error)))
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) problems.push(`${message.type()}: ${message.text()}`)
  })
  await page.goto(url)
  return { page, problems }
}

/** Writes a picture of the page to `artifacts/NAME.png` and returns its path. */
export async function screenshot (page, name) {
  const folder = join(root, 'artifacts')
  mkdirSync(folder, { recursive: true })
  const path = join(folder, `${name}.png`)
  await page.screenshot({ path, fullPage: true })
  return path
}

/**
 * Serves the built package at `/hypertab/`, and whatever else the test asks for, until the test ends.
 *
 * @param {Record<string, string | object>} [routes] see serveStatic
 * @returns {Promise<{ url: string, close: () => Promise<void> }>} close it to cut a page off
 */
export async function servePackage (t, routes = {}) {
  const blank = {
    type: 'text/html; charset=utf-8',
    body: `<!doctype html><title>test</title><link rel=icon href=data:,><script>(${runWhatIsSent})()</script>`
  }
  const server = await serveStatic({ '/': blank, '/hypertab/': join(root, 'wasm', 'dist'), ...routes })
  defer(t, () => server.close())
  return server
}

/** Runs in a page: where no driver can drive it, the address names a WebSocket that sends functions. */
function runWhatIsSent () {
  const driver = new URLSearchParams(location.search).get('driver')
  if (!driver) return
  const socket = new WebSocket(driver)
  socket.onmessage = async ({ data }) => {
    const { id, source, args } = JSON.parse(data)
    const answer = { id }
    try {
      answer.value = await (0, eval)(`(${source})`)(...args)
    } catch (error) {
      answer.error = `${error}\n${error?.stack}`
    }
    socket.send(JSON.stringify(answer))
  }
}
