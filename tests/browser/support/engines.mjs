// Chromium, Firefox and WebKit behind one small face: pages that run functions, and a browser that can be killed.

import { once } from 'node:events'
import { cpSync } from 'node:fs'
import { join } from 'node:path'

import puppeteer from 'puppeteer-core'

import { ensureBrowser, ensureOther } from '../../../scripts/setup.mjs'
import { defer } from '../../interop/support/cleanup.mjs'
import { temporaryFolder } from '../../interop/support/folder.mjs'
import { FLAGS } from './browser.mjs'
import { startWebKit } from './webkit.mjs'

/** How long a page may take for one step, in milliseconds. */
export const PATIENCE_MS = 60_000

/**
 * A page of any engine.
 *
 * @typedef {object} EnginePage
 * @property {(fn: Function, ...args: unknown[]) => Promise<unknown>} evaluate runs a function in the page; what goes in and
 *   comes out is JSON
 * @property {() => Promise<void>} reload
 * @property {() => Promise<void>} close
 */

/**
 * A running browser of any engine.
 *
 * @typedef {object} EngineBrowser
 * @property {(url: string) => Promise<EnginePage>} open
 * @property {() => Promise<EngineBrowser>} crash ends its processes, or for WebKit those of its pages, without a word; what it
 *   resolves to has the same stored data
 * @property {() => Promise<void>} [makeRoom] gives back some of what the quota leaves no room for, where that is a disk that is full
 */

/**
 * How each is started; `quota` is in bytes.
 *
 * @type {Record<string, (t: import('node:test').TestContext, options?: { profile?: string, quota?: number }) => Promise<EngineBrowser>>}
 */
export const engines = { chromium: startChromium, firefox: startFirefox, webkit: startWebKit }

async function startChromium (t, { profile = temporaryFolder(t) } = {}) {
  const browser = await puppeteer.launch({
    executablePath: await ensureBrowser(),
    args: FLAGS,
    userDataDir: profile,
    protocolTimeout: PATIENCE_MS
  })
  return viaPuppeteer(t, browser, () => startChromium(t, { profile }))
}

async function startFirefox (t, { profile = temporaryFolder(t), quota } = {}) {
  const browser = await puppeteer.launch({
    browser: 'firefox',
    executablePath: await ensureOther('Firefox'),
    userDataDir: profile,
    protocolTimeout: PATIENCE_MS,
    extraPrefsFirefox: {
      'browser.sessionstore.resume_from_crash': false,
      ...(quota === undefined ? {} : { 'dom.quotaManager.temporaryStorage.fixedLimit': quota / 1024 })
    }
  })
  return viaPuppeteer(t, browser, () => {
    // The library tidies up in the folder once it sees that the browser has ended, so what pages stored goes elsewhere.
    const copy = temporaryFolder(t)
    for (const name of ['storage', 'storage.sqlite']) cpSync(join(profile, name), join(copy, name), { recursive: true })
    return startFirefox(t, { profile: copy, quota })
  })
}

function viaPuppeteer (t, browser, restart) {
  defer(t, async () => { if (browser.connected) await browser.close() })
  return {
    async open (url) {
      const page = await browser.newPage()
      page.setDefaultTimeout(PATIENCE_MS)
      await page.goto(url)
      return {
        evaluate: (fn, ...args) => page.evaluate(fn, ...args),
        reload: async () => { await page.reload() },
        close: () => page.close()
      }
    },
    async crash () {
      const child = browser.process()
      const gone = once(child, 'exit')
      child.kill('SIGKILL')
      await gone
      await browser.disconnect()
      return await restart()
    }
  }
}
