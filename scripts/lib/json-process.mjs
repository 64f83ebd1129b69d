// A child process that speaks JSON, one value a line, on stdin and stdout.

import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'

import { Failure } from './run.mjs'

/** How long a child may take to say what a test waits for. */
const PATIENCE_MS = 30_000

/** How much of a child's stderr is kept for the message of a failure, in characters. */
const STDERR_KEPT = 8_000

const running = new Set()
process.on('exit', () => { for (const child of running) child.kill('SIGKILL') })

export class JsonProcess {
  #name
  #child
  #messages = []
  #waiting = new Set()
  #stderr = ''
  #ended = null
  #nextId = 1

  /**
   * @param {string} program `node` means this Node
   * @param {string[]} args
   * @param {{ env?: object, cwd?: string }} [options]
   */
  constructor (program, args, { env = {}, cwd } = {}) {
    this.#name = [program, ...args].join(' ')
    this.#child = spawn(program === 'node' ? process.execPath : program, args, {
      cwd,
      env: { ...process.env, ...env },
      stdio: ['pipe', 'pipe', 'pipe']
    })
    running.add(this.#child)
    this.#child.stdin.on('error', () => {})
    this.#child.stderr.setEncoding('utf8').on('data', (text) => {
      this.#stderr = (this.#stderr + text).slice(-STDERR_KEPT)
    })
    createInterface({ input: this.#child.stdout }).on('line', (line) => this.#onLine(line))
    /** Resolves to `{ code, signal }` when the process is gone. */
    this.exited = new Promise((resolve) => {
      this.#child.once('error', (error) => this.#onEnd(resolve, { code: null, signal: null, error }))
      this.#child.once('close', (code, signal) => this.#onEnd(resolve, { code, signal }))
    })
  }

  get pid () {
    return this.#child.pid
  }

  /** What the process wrote to stderr, the end of it. */
  get stderr () {
    return this.#stderr
  }

  /** Writes one JSON line to the process. */
  send (message) {
    this.#child.stdin.write(JSON.stringify(message) + '\n')
  }

  /**
   * Takes the first message, already here or still to come, that has the given `event`, or passes a test.
   *
   * @param {string | ((message: any) => boolean)} wanted
   * @param {{ patience?: number, what?: string }} [options] milliseconds; the words for a failure
   */
  next (wanted, { patience = PATIENCE_MS, what = `event ${wanted}` } = {}) {
    const matches = typeof wanted === 'string' ? (/** @type {any} */ message) => message.event === wanted : wanted
    const index = this.#messages.findIndex(matches)
    if (index !== -1) return Promise.resolve(this.#messages.splice(index, 1)[0])
    if (this.#ended) return Promise.reject(this.#failure(`ended before: ${what}`))
    return new Promise((resolve, reject) => {
      const waiter = {
        matches,
        what,
        resolve: (message) => { clearTimeout(timer); resolve(message) },
        reject: (error) => { clearTimeout(timer); reject(error) }
      }
      const timer = setTimeout(() => {
        this.#waiting.delete(waiter)
        reject(this.#failure(`took over ${patience} ms for: ${what}`))
      }, patience)
      this.#waiting.add(waiter)
    })
  }

  /** Sends `{ id, do: command, ...fields }` and returns the reply that repeats the id. */
  async ask (command, fields = {}, patience = PATIENCE_MS) {
    const id = this.#nextId++
    this.send({ id, do: command, ...fields })
    const reply = await this.next((message) => message.id === id, { patience, what: `reply to ${command}` })
    if (reply.error) throw new Error(`${this.#name}: ${command}: ${reply.error}`)
    return reply.result
  }

  /** Ends the process, at once and for sure, and waits until it is gone. */
  async kill (signal = 'SIGKILL') {
    if (!this.#ended) this.#child.kill(signal)
    return await this.exited
  }

  /** Asks the process to end: closes its stdin and sends SIGTERM. */
  stop () {
    this.#child.stdin.end()
    if (!this.#ended) this.#child.kill('SIGTERM')
  }

  #onLine (line) {
    let message
    try {
      message = JSON.parse(line)
    } catch {
      this.#stderr = (this.#stderr + line + '\n').slice(-STDERR_KEPT)
      return
    }
    for (const waiter of this.#waiting) {
      if (!waiter.matches(message)) continue
      this.#waiting.delete(waiter)
      waiter.resolve(message)
      return
    }
    this.#messages.push(message)
  }

  #onEnd (resolve, ended) {
    running.delete(this.#child)
    this.#ended ??= ended
    for (const waiter of this.#waiting) waiter.reject(this.#failure(`ended before: ${waiter.what}`))
    this.#waiting.clear()
    resolve(this.#ended)
  }

  #failure (what) {
    const end = this.#ended ? ` (${this.#ended.error?.message ?? this.#ended.signal ?? `code ${this.#ended.code}`})` : ''
    return new Failure(`${this.#name} ${what}${end}\n${this.#stderr}`.trimEnd())
  }
}
