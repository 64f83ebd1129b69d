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

/** Runs on a page that owns a store: tells other tabs nothing any more. */
export function fallSilent () {
  BroadcastChannel.prototype.postMessage = () => {}
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
  /** As browsers freeze, between two tasks: stopped inside of one, it would keep a transaction that it is about to end. Resolves to what wakes it. */
  async freeze (page) {
    const cdp = await page.context().newCDPSession(page)
    await cdp.send('Debugger.enable')
    const paused = new Promise((resolve) => cdp.once('Debugger.paused', resolve))
    await page.evaluate(() => {
      setTimeout(() => {
        debugger
      })
    })
    await paused
    return async () => {
      await cdp.send('Debugger.resume')
      await cdp.detach()
    }
  }
}

/**
 * Runs on a page: goes on using a store in every way, several at once: a log that all append to, bees, drives, snapshots, branches, atoms, and
 * cores that open and close. Whatever fails is kept as `failures`.
 */
export async function keepBusy ([entry, name, seed]) {
  const { Corestore, Hyperbee, Hyperdrive } = await import(`/hypertab/browser/${entry}.js`)
  globalThis.failures = []
  globalThis.stopped = false
  const store = globalThis.store = new Corestore('shared')
  const core = globalThis.core = store.get({ name: 'log', valueEncoding: 'utf-8' })
  await core.ready()
  let state = seed
  const below = (bound) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor(state / 2 ** 32 * bound)
  }
  const bee = new Hyperbee(store.get({ name: 'bee' }), { keyEncoding: 'utf-8', valueEncoding: 'utf-8' })
  const drive = new Hyperdrive(store.namespace(name))
  const own = store.get({ name: `${name}-own` })
  const branch = own.session({ name: 'branch' })
  await branch.ready()
  const signed = store.get({ name: `${name}-signed` })
  const signing = signed.session({ name: 'branch' })
  await signing.ready()
  const together = [1, 2].map((at) => store.get({ name: `${name}-together-${at}` }))
  await Promise.all(together.map((log) => log.ready()))
  const lengths = new Map([[own, 0], [branch, 0]])
  let count = 0
  const same = (found, expected, what) => { if (found !== expected) failures.push(`${what}: ${found} instead of ${expected}`) }
  const jobs = {
    async append () {
      const text = `${name}:${count++}`
      const { length } = await core.append(text)
      await acknowledge(text, length)
    },
    async appendAlone () {
      for (const [log, length] of lengths) {
        lengths.set(log, length + 1)
        same((await log.append('x')).length, length + 1, `the length of a ${log === own ? 'log' : 'branch'}`)
      }
    },
    async commit () {
      const { length } = signed
      await signing.append(['x', 'y', 'z'])
      same((await signed.commit(signing, { length: length + 1 }))?.length, length + 1, 'the length after a part of a branch')
      same((await signed.commit(signing))?.length, length + 3, 'the length after a branch')
    },
    async atom () {
      const length = together[0].length + 2
      const atom = store.storage.createAtom()
      const inside = together.map((log) => log.session({ atom }))
      for (const session of [...inside, ...inside]) await session.append('x')
      await atom.flush()
      for (const log of together) same(log.length, length, 'the length after an atom')
      await Promise.all(inside.map((session) => session.close()))
    },
    async get () {
      if (core.length > 0) same(typeof await core.get(below(core.length)), 'string', 'a block')
    },
    async snapshot () {
      const { length } = core
      const snapshot = core.snapshot({ valueEncoding: 'utf-8' })
      await snapshot.ready()
      if (snapshot.length < length) failures.push(`a snapshot is shorter than ${length}`)
      if (length > 0) same(typeof await snapshot.get(below(length)), 'string', 'a block of a snapshot')
      await snapshot.close()
    },
    async openAndClose () {
      const other = store.get({ name: `${name}-${below(5)}`, valueEncoding: 'utf-8' })
      await other.ready()
      const { length } = await other.append('x')
      same(await other.get(length - 1), 'x', 'a block of another core')
      await other.close()
    },
    async session () {
      const session = core.session()
      await session.ready()
      await session.close()
    },
    async userData () {
      const value = `${below(1000)}`
      await core.setUserData(name, value)
      same(new TextDecoder().decode(await core.getUserData(name)), value, 'user data')
    },
    async put () {
      const key = `${name}/${below(20)}`
      const value = `${below(1000)}`
      await bee.put(key, value)
      same((await bee.get(key))?.value, value, 'an entry')
    },
    async batch () {
      const batch = bee.batch()
      for (let i = 0; i < 3; i++) await batch.put(`${name}/batch/${i}`, `${i}`)
      await batch.flush()
      same((await bee.get(`${name}/batch/2`))?.value, '2', 'an entry of a batch')
    },
    async list () {
      let last = ''
      for await (const { key } of bee.createReadStream({ gt: `${name}/`, lt: `${name}0` })) {
        if (key <= last) failures.push(`${key} comes after ${last}`)
        last = key
      }
    },
    async file () {
      const path = `/${below(3)}.bin`
      const size = 1 + below(100_000)
      await drive.put(path, new Uint8Array(size))
      same((await drive.get(path)).byteLength, size, 'a file')
    }
  }
  const busy = async (names) => {
    while (!stopped) {
      const job = names[below(names.length)]
      try {
        await jobs[job]()
      } catch (error) {
        failures.push(`${job}: ${error?.code} ${error?.stack ?? error}`)
        await new Promise((resolve) => setTimeout(resolve, 100))
      }
    }
  }
  // What reads back what it wrote is not to overtake itself.
  globalThis.working = Promise.all([
    ['append'], ['append', 'get', 'snapshot', 'session'], ['openAndClose', 'userData'], ['appendAlone'], ['commit'], ['atom'], ['put', 'batch', 'list'], ['file']
  ].map(busy))
}

/** Runs on a page: ends it, and resolves to what failed and to all that the log has. */
export async function stopBusy () {
  globalThis.stopped = true
  await working
  const texts = []
  await core.update()
  for (let index = 0; index < core.length; index++) texts.push(await core.get(index, { wait: false }))
  return { failures, texts }
}
