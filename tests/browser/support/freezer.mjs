// Chromium without a driver that keeps every page in the foreground: its pages can be frozen as browsers freeze them, with their workers.

import { spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'

import WebSocket from 'ws'

import { ensureBrowser } from '../../../scripts/setup.mjs'
import { defer } from '../../interop/support/cleanup.mjs'
import { temporaryFolder } from '../../interop/support/folder.mjs'
import { FLAGS } from './browser.mjs'

/** Starts it; `open(url)` resolves to a page. Only the page that was opened last is seen. */
export async function startFreezer (t) {
  const folder = temporaryFolder(t)
  const child = spawn(await ensureBrowser(), [...FLAGS, '--headless', '--remote-debugging-port=0', `--user-data-dir=${folder}`, 'about:blank'], { stdio: 'ignore' })
  const ended = new Promise((resolve) => child.on('exit', resolve))
  defer(t, async () => {
    child.kill()
    await ended
  })
  const announced = join(folder, 'DevToolsActivePort')
  while (!existsSync(announced) || !readFileSync(announced, 'utf8').includes('\n')) await setTimeout(20)
  const [port, path] = readFileSync(announced, 'utf8').trim().split('\n')
  const socket = new WebSocket(`ws://127.0.0.1:${port}${path}`)
  await new Promise((resolve, reject) => socket.on('open', resolve).on('error', reject))
  let last = 0
  const waiting = new Map()
  socket.on('message', (text) => {
    const { id, result, error } = JSON.parse(text)
    waiting.get(id)?.(result ?? { error })
    waiting.delete(id)
  })
  const send = (method, params, sessionId) => new Promise((resolve) => {
    waiting.set(++last, resolve)
    socket.send(JSON.stringify({ id: last, method, params, sessionId }))
  })
  return {
    async open (url) {
      const { targetId } = await send('Target.createTarget', { url: 'about:blank' })
      const { sessionId } = await send('Target.attachToTarget', { targetId, flatten: true })
      await send('Page.navigate', { url }, sessionId)
      const page = new Page((method, params) => send(method, params, sessionId))
      while (await page.evaluate(() => `${location.origin}/ ${document.readyState}`) !== `${url}/ complete`) await setTimeout(20)
      return page
    }
  }
}

class Page {
  #send

  constructor (send) {
    this.#send = send
  }

  /** Runs a function on the page. */
  async evaluate (run, arg) {
    const expression = `(${run})(${JSON.stringify(arg)})`
    const { result, exceptionDetails, error } = await this.#send('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true })
    if (exceptionDetails ?? error) throw new Error(exceptionDetails?.exception?.description ?? error?.message)
    return result.value
  }

  /** Stops it and its workers between two tasks. Resolves to what wakes it. */
  async freeze () {
    await this.#send('Page.setWebLifecycleState', { state: 'frozen' })
    return async () => {
      await this.#send('Page.setWebLifecycleState', { state: 'active' })
    }
  }
}
