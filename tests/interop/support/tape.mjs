// What suites written for tape need of it, wherever they run: a test in it ends by its plan, by end(), or with its promise.

/** How long a test may wait for its plan or its end. */
const PATIENCE_MS = 60_000

/**
 * Returns a `test` as tape's. Each call of it is given to `run`, one after the other; `all()` resolves after the last, to how many there were.
 * `names()` says what is to be run.
 */
export function tape (assert, run) {
  /** @type {[string, Function, boolean][]} */
  const queue = []
  const add = (name, body, isSkipped) => { queue.push([name, body, isSkipped]) }
  const test = (name, ...rest) => { add(name, rest.at(-1), rest.length > 1 && rest[0]?.skip) }
  test.skip = (name, body) => add(name, body, true)
  return {
    test,
    names: () => queue.filter(([,, isSkipped]) => !isSkipped).map(([name]) => name),
    async all () {
      let ran = 0
      while (queue.length > 0) {
        const [name, body, isSkipped] = queue.shift()
        if (isSkipped) continue
        await run(name, async () => { await new Case(assert).run(body) })
        ran++
      }
      return ran
    }
  }
}

class Case {
  #assertions
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

  constructor (assertions) {
    this.#assertions = assertions
  }

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
      if (this.#planned !== Infinity) this.#assertions.equal(this.#count, this.#planned, 'as many assertions as planned')
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
  fail (message) { this.#assert(() => this.#assertions.fail(message)) }
  ok (value, message) { this.#assert(() => this.#assertions.ok(value, message)) }
  is (found, expected, message) { this.#assert(() => this.#assertions.equal(found, expected, message)) }
  isNot (found, expected, message) { this.#assert(() => this.#assertions.notEqual(found, expected, message)) }
  same (found, expected, message) { this.#assert(() => this.#assertions.deepEqual(found, expected, message)) }
  throws (body, expected, message) { this.#assert(() => this.#assertions.throws(body, typeof expected === 'string' ? undefined : expected, message)) }
  doesNotThrow (body, message) { this.#assert(() => this.#assertions.doesNotThrow(body, message)) }

  test (name, ...rest) {
    const body = rest.at(-1)
    const before = this.#running
    this.#running = before.then(() => new Case(this.#assertions).run(body))
    this.#running.catch(this.#fail)
    this.#assert(() => {})
  }
}
