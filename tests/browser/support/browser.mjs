// Chromium, started the way it has to be started on a machine that is cut off from the network.

import { mkdirSync } from 'node:fs'
import { join } from 'node:path'

import { chromium } from 'playwright-core'

import { root } from '../../../scripts/lib/run.mjs'
import { serveStatic } from '../../../scripts/lib/static-server.mjs'
import { ensureBrowser } from '../../../scripts/setup.mjs'
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

/**
 * Starts Chromium with a profile on disk; it closes with the test.
 *
 * @param {import('node:test').TestContext} t
 * @param {{ profile?: string }} [options] a folder to start with, to come back to what an earlier browser stored
 * @returns {Promise<import('playwright-core').BrowserContext>}
 */
export async function startBrowser (t, { profile } = {}) {
  const context = await chromium.launchPersistentContext(profile ?? temporaryFolder(t), {
    executablePath: await ensureBrowser(),
    args: FLAGS,
    headless: true,
    viewport: { width: 1200, height: 900 }
  })
  context.setDefaultTimeout(PATIENCE_MS)
  defer(t, () => context.close())
  return context
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
