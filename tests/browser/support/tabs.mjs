// What tests of several tabs do on each of them.

/** Runs on a page: opens a log of a store that other tabs have open, too, and keeps it as `core`. */
export async function openLog (name) {
  const { Hypercore } = await import('/hypertab/browser/index.js')
  globalThis.core = new Hypercore(name, { valueEncoding: 'utf-8' })
  await core.ready()
  return { key: core.id, length: core.length, isOwner: core.core.db.isOwner }
}

/** Runs on a page: appends texts one after the other or at once, and returns the lengths that were answered. */
export async function appendAll ([texts, atOnce]) {
  const append = (text) => core.append(text).then(({ length }) => length)
  if (atOnce) return await Promise.all(texts.map(append))
  const lengths = []
  for (const text of texts) lengths.push(await append(text))
  return lengths
}

/** Runs on a page: everything in the log. */
export async function readAll () {
  const texts = []
  for (let index = 0; index < core.length; index++) texts.push(await core.get(index, { wait: false }))
  return texts
}

/** Runs on a page: goes on appending texts of its own, several at once, and tells each that is answered. */
export async function keepAppending ([name, atOnce]) {
  globalThis.stopped = false
  let count = 0
  const writer = async () => {
    while (!stopped) {
      const text = `${name}:${count++}`
      const { length } = await core.append(text)
      await acknowledge(text, length)
    }
  }
  globalThis.writing = Promise.all(Array.from({ length: atOnce }, writer))
}

/** Runs on a page: ends it, and resolves once everything is answered. */
export async function stopAppending () {
  globalThis.stopped = true
  await writing
}

/** Numbers below a bound, the same ones for the same seed. */
export function random (seed) {
  let state = seed >>> 0
  return (bound) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor(state / 2 ** 32 * bound)
  }
}

/** Ways in which a tab is gone, or seems to be. */
export const ends = {
  async close (page) {
    await page.close()
  },
  async crash (page) {
    const cdp = await page.context().newCDPSession(page)
    cdp.send('Page.crash').catch(() => {})
    await new Promise((resolve) => page.once('crash', resolve))
  },
  /** Resolves to what wakes it. */
  async freeze (page) {
    const cdp = await page.context().newCDPSession(page)
    await cdp.send('Debugger.enable')
    const paused = new Promise((resolve) => cdp.once('Debugger.paused', resolve))
    await cdp.send('Debugger.pause')
    await paused
    return async () => {
      await cdp.send('Debugger.resume')
      await cdp.detach()
    }
  }
}
