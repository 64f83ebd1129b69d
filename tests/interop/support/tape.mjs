// What suites written for tape need of it, on the runner of Node: a test in it ends by its plan, by end(), or with its promise.

import assert from 'node:assert/strict'
import { test as run } from 'node:test'

/** How long a test may wait for its plan or its end. */
const PATIENCE_MS = 60_000

/** Returns a `test` as tape's. Each call of it is a test of `t`, one after the other; `all()` resolves after the last. */
export function tape (t) {
  /** @type {[string, Function, boolean][]} */
  const queue = []
  const add = (name, body, isSkipped) => { queue.push([name, body, isSkipped]) }
  const test = (name, ...rest) => { add(name, rest.at(-1), rest.length > 1 && rest[0]?.skip) }
  test.skip = (name, body) => add(name, body, true)
  return {
    test,
    async all () {
      let ran = 0
      while (queue.length > 0) {
        const [name, body, isSkipped] = queue.shift()
        if (isSkipped) continue
        await t.test(name, async () => { await new Case().run(body) })
        ran++
      }
      return ran
    }
  }
}

class Case {
  #planned = Infinity
  #count = 0
  #parts = []
  #running = Promise.resolve()
  #done
  #fail
  #over = new Promise((resolve, reject) => {
    this.#done = resolve
    this.#fail = reject
  })

  async run (body) {
    this.#over.catch(() => {})
    const timer = setTimeout(() => { this.#fail(new Error(`${this.#count} of ${this.#planned} assertions after ${PATIENCE_MS} ms`)) }, PATIENCE_MS)
    try {
      const result = body(this)
      if (result instanceof Promise) {
        await result
        await this.#running
        // A plan may be fulfilled by what the test started.
        if (this.#planned === Infinity) return
      }
      if (this.#count >= this.#planned) this.#done()
      await this.#over
      await this.#running
    } finally {
      clearTimeout(timer)
      if (this.#planned !== Infinity) assert.equal(this.#count, this.#planned, 'as many assertions as planned')
    }
  }

  #assert (claim) {
    this.#count++
    try {
      claim()
    } catch (error) {
      this.#fail(error)
      throw error
    }
    if (this.#count === this.#planned) setTimeout(this.#done)
  }

  plan (count) { this.#planned = count }
  end () { this.#done() }
  pass () { this.#assert(() => {}) }
  fail (message) { this.#assert(() => assert.fail(message)) }
  ok (value, message) { this.#assert(() => assert.ok(value, message)) }
  is (found, expected, message) { this.#assert(() => assert.equal(found, expected, message)) }
  isNot (found, expected, message) { this.#assert(() => assert.notEqual(found, expected, message)) }
  same (found, expected, message) { this.#assert(() => assert.deepEqual(found, expected, message)) }
  throws (body, expected, message) { this.#assert(() => assert.throws(body, typeof expected === 'string' ? undefined : expected, message)) }
  doesNotThrow (body, message) { this.#assert(() => assert.doesNotThrow(body, message)) }

  test (name, ...rest) {
    const body = rest.at(-1)
    const before = this.#running
    this.#running = before.then(() => new Case().run(body))
    this.#running.catch(this.#fail)
    this.#assert(() => {})
  }
}
