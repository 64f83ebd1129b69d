// Runs a module in a tab of a browser that nobody watches: a debugger that is told of every message of a WebSocket costs more than the message.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { root } from '../../scripts/lib/run.mjs'
import { serveStatic } from '../../scripts/lib/static-server.mjs'
import { ensureBrowser, ensureOther } from '../../scripts/setup.mjs'

/** The browsers that a module can run in. */
export const ENGINES = ['chromium', 'firefox']

// Neither is to call home, or to ask the user for anything.
const CHROMIUM_FLAGS = [
  '--headless', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-sync', '--disable-component-update',
  ...(process.getuid?.() === 0 ? ['--no-sandbox'] : [])
]

const FIREFOX_SETTINGS = {
  'app.update.enabled': false,
  'browser.aboutwelcome.enabled': false,
  'browser.shell.checkDefaultBrowser': false,
  'datareporting.policy.dataSubmissionEnabled': false,
  'network.captive-portal-service.enabled': false,
  'network.connectivity-service.enabled': false,
  'privacy.reduceTimerPrecision': false,
  'services.settings.server': 'data:,',
  'toolkit.telemetry.reportingpolicy.firstRun': false
}

const start = {
  chromium: async (profile, url) => [await ensureBrowser(), [...CHROMIUM_FLAGS, `--user-data-dir=${profile}`, url]],
  async firefox (profile, url) {
    mkdirSync(profile)
    const settings = Object.entries(FIREFOX_SETTINGS).map(([name, value]) => `user_pref(${JSON.stringify(name)}, ${JSON.stringify(value)});`)
    writeFileSync(join(profile, 'user.js'), settings.join('\n'))
    return [await ensureOther('Firefox'), ['--headless', '--no-remote', '--profile', profile, url]]
  }
}

const script = (name) => ({ type: 'text/javascript', body: readFileSync(join(import.meta.dirname, name), 'utf8') })

/** What a tab finds on its origin when it runs a program of a bench: the package, and what the programs share. */
export function benchFiles (program) {
  return {
    '/hypertab/': join(root, 'wasm', 'dist'),
    '/program.js': { type: 'text/javascript', body: program },
    '/limits.js': script('limits.mjs'),
    '/workloads.js': script('workloads.mjs')
  }
}

/** Longest that a run may take, in milliseconds. */
const LIMIT = 15 * 60_000

/**
 * Calls `run(job)` of the module at `/program.js`.
 *
 * @param {Record<string, string | object>} routes what the tab finds on its origin, `/program.js` among it
 * @param {any} job plain data
 * @param {{ engine?: string, inWorker?: boolean }} [options] the browser, and whether the module runs in a dedicated worker
 *   instead of the page
 * @returns {Promise<any>} what it resolved to, plain data
 */
export async function runInTab (routes, job, { engine = 'chromium', inWorker = false } = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'hypertab-tab-'))
  const report = createServer()
  report.listen(0, '127.0.0.1')
  await once(report, 'listening')
  const { port } = /** @type {import('node:net').AddressInfo} */ (report.address())
  const settings = { job, inWorker, report: `http://127.0.0.1:${port}` }
  const files = await serveStatic({
    ...routes,
    '/': { type: 'text/html', body: `<!doctype html><title>run</title><script type="module">\nconst settings = ${JSON.stringify(settings)}\n${PAGE}\n</script>` },
    '/worker.js': { type: 'text/javascript', body: WORKER }
  })
  const [command, args] = await start[engine](join(folder, 'profile'), files.url)
  const browser = spawn(command, args, { stdio: 'ignore', detached: true })
  const gone = once(browser, 'exit')
  const end = () => {
    try {
      process.kill(-browser.pid, 'SIGKILL')
    } catch {
      // It is gone already.
    }
  }
  process.once('exit', end)
  try {
    const { value, error } = await Promise.race([
      answer(report),
      gone.then(() => { throw new Error('the browser ended before the run did') }),
      new Promise((resolve, reject) => { setTimeout(() => reject(new Error('the run takes too long')), LIMIT).unref() })
    ])
    if (error !== undefined) throw new Error(`in the tab: ${error}`)
    return value
  } finally {
    // With all of its processes: one that outlives the first goes on writing to the profile.
    process.off('exit', end)
    end()
    await gone.catch(() => {})
    await files.close()
    report.close()
    await removeFolder(folder)
  }
}

async function removeFolder (folder) {
  for (let left = 50; ; left--) {
    try {
      return rmSync(folder, { recursive: true, force: true })
    } catch (error) {
      if (left === 0) throw error
      await new Promise((resolve) => { setTimeout(resolve, 100) })
    }
  }
}

const PAGE = `
const tell = (answer) => fetch(settings.report, { method: 'POST', mode: 'no-cors', body: JSON.stringify(answer) })
const fail = (error) => tell({ error: String(error?.stack ?? error) })
globalThis.onerror = (message) => fail(message)
globalThis.onunhandledrejection = ({ reason }) => fail(reason)
if (settings.inWorker) {
  const worker = new Worker('/worker.js', { type: 'module' })
  worker.onerror = (event) => fail(event.message)
  worker.onmessage = ({ data }) => data.ready ? worker.postMessage(settings.job) : tell(data)
} else {
  import('/program.js').then(({ run }) => run(settings.job)).then((value) => tell({ value }), fail)
}
`

const WORKER = `
import { run } from '/program.js'
onmessage = ({ data }) => run(data).then((value) => postMessage({ value }), (error) => postMessage({ error: String(error?.stack ?? error) }))
postMessage({ ready: true })
`

async function answer (server) {
  const [request, response] = await once(server, 'request')
  let body = ''
  for await (const chunk of request) body += chunk
  response.end()
  return JSON.parse(body)
}
