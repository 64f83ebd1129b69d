// WebKit's small browser on a screen in memory. Its own automation forgets what pages store, so that pages are driven over a
// WebSocket instead: the blank page of servePackage runs what it is sent.

import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'

import { WebSocketServer } from 'ws'

import { ensureOther } from '../../../scripts/setup.mjs'
import { defer } from '../../interop/support/cleanup.mjs'
import { temporaryFolder } from '../../interop/support/folder.mjs'

/** How long a page may take for one step, in milliseconds. */
const PATIENCE_MS = 60_000

/** Starts it, see `engines`; the pages it opens have to be ones of servePackage. */
export async function startWebKit (t, { profile = temporaryFolder(t), quota } = {}) {
  const program = await ensureOther('WebKit')
  const display = await startDisplay(t)
  const driver = await startDriver(t)
  let child = null
  const kill = async () => {
    if (child === null || child.exitCode !== null || child.signalCode !== null) return
    const gone = once(child, 'exit')
    process.kill(-child.pid, 'SIGKILL')
    await gone
  }
  defer(t, kill)
  const pages = []
  return {
    async open (url) {
      const opened = driver.next()
      const address = `${url}/?driver=${encodeURIComponent(driver.url)}`
      if (child === null) {
        const [command, args] = onDisk(quota, profile, [program, '--javascript-can-open-windows-automatically=true', address])
        child = spawn(command, args, {
          env: {
            ...process.env,
            DISPLAY: display,
            HOME: profile,
            XDG_CACHE_HOME: `${profile}/cache`,
            XDG_CONFIG_HOME: `${profile}/config`,
            XDG_DATA_HOME: `${profile}/data`,
            // There is no screen to draw on, and root has no sandbox.
            WEBKIT_DISABLE_COMPOSITING_MODE: '1',
            WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS: '1'
          },
          stdio: 'ignore',
          detached: true
        })
      } else {
        await pages[0].evaluate((address) => { window.open(address) }, address)
      }
      const page = new Page(await opened, driver)
      pages.push(page)
      return page
    },
    async makeRoom () {
      // Its disk is in nobody else's sight but this one's.
      await rm(`/proc/${child.pid}/root${profile}/${BALLAST}`)
    },
    async crash () {
      await kill()
      return await startWebKit(t, { profile })
    }
  }
}

/** A disk of its own, in memory, for whoever is in the new namespace: WebKit cannot be told a quota. Something else takes some of it. */
function onDisk (quota, profile, [program, ...args]) {
  if (quota === undefined) return [program, args]
  const script = 'mount -t tmpfs -o "size=$1" tmpfs "$2" && head -c "$3" /dev/zero > "$2/$4" && shift 4 && exec "$@"'
  const sizes = [String(quota + BALLAST_BYTES), profile, String(BALLAST_BYTES), BALLAST]
  return ['unshare', [...NAMESPACE ?? [], 'sh', '-c', script, 'sh', ...sizes, program, ...args]]
}

/** What makes such a namespace here, if anything does: some systems let nobody have a user's, others no container mount. */
const NAMESPACE = [['--user', '--map-root-user', '--mount'], ['--mount']].find((flags) => {
  const script = 'mount -t tmpfs tmpfs "$1"'
  return spawnSync('unshare', [...flags, 'sh', '-c', script, 'sh', tmpdir()], { stdio: 'ignore' }).status === 0
})

/** Why a quota cannot be given; false when it can. */
export const noQuota = NAMESPACE ? false : 'A disk of its own takes a mount namespace (unshare --mount).'

const BALLAST = 'something-else'
const BALLAST_BYTES = 8 << 20

/** A page that has connected; see EnginePage. */
class Page {
  #socket
  #driver
  #steps = new Map()
  #next = 0

  constructor (socket, driver) {
    this.#driver = driver
    this.#listen(socket)
  }

  evaluate (fn, ...args) {
    const id = this.#next++
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => { this.#settle(id, { error: `no answer in ${PATIENCE_MS} ms` }) }, PATIENCE_MS)
      this.#steps.set(id, { resolve, reject, late })
      this.#socket.send(JSON.stringify({ id, source: String(fn), args }))
    })
  }

  async reload () {
    const opened = this.#driver.next()
    this.#socket.send(JSON.stringify({ source: '() => { location.reload() }', args: [] }))
    this.#listen(await opened)
  }

  async close () {
    const closed = once(this.#socket, 'close')
    this.#socket.send(JSON.stringify({ source: '() => { window.close() }', args: [] }))
    await closed
  }

  #listen (socket) {
    this.#socket = socket
    socket.on('message', (text) => {
      const { id, ...result } = JSON.parse(text)
      if (id !== undefined) this.#settle(id, result)
    })
    socket.on('close', () => {
      if (this.#socket !== socket) return
      for (const id of [...this.#steps.keys()]) this.#settle(id, { error: 'the page is gone' })
    })
  }

  #settle (id, { value, error }) {
    const step = this.#steps.get(id)
    if (!step) return
    this.#steps.delete(id)
    clearTimeout(step.late)
    if (error === undefined) step.resolve(value)
    else step.reject(new Error(error))
  }
}

/** Waits for pages, each of which opens a WebSocket. */
async function startDriver (t) {
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0 })
  await once(server, 'listening')
  defer(t, () => new Promise((resolve) => {
    for (const client of server.clients) client.terminate()
    server.close(resolve)
  }))
  server.on('connection', (socket) => { socket.on('error', () => {}) })
  return {
    url: `ws://127.0.0.1:${server.address().port}`,
    async next () {
      const [socket] = await once(server, 'connection', { signal: AbortSignal.timeout(PATIENCE_MS) })
      return socket
    }
  }
}

/** A screen in memory. */
async function startDisplay (t) {
  const program = await ensureOther('Xvfb')
  const child = spawn(program, ['-displayfd', '3', '-screen', '0', '1200x900x24', '-nolisten', 'tcp'], {
    stdio: ['ignore', 'ignore', 'ignore', 'pipe']
  })
  defer(t, async () => {
    if (child.exitCode !== null) return
    const gone = once(child, 'exit')
    child.kill()
    await gone
  })
  const [number] = await once(child.stdio[3], 'data')
  return `:${String(number).trim()}`
}
