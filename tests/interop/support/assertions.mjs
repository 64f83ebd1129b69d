// Tests in the manner of those that are written for the runner `brittle`. Nothing of Node is needed, so that the same
// tests run in a page.

import { toHex } from './scene.mjs'

/** Runs a test with what it gets of a scene: assertions, cores and storage of one implementation. */
export async function playTest (scene, program, { Storage, lib, isEqual }) {
  const { Hypercore, folder, defer } = scene
  const createStorage = async () => {
    const storage = new Storage(folder())
    defer(() => storage.close())
    return storage
  }
  const t = assertions(scene, isEqual)
  await program(t, {
    ...scene,
    CoreStorage: Storage,
    lib,
    create: (_t, ...args) => scene.create(...args),
    createA: (_t, ...args) => scene.createA(...args),
    createB: (_t, ...args) => scene.createB(...args),
    createStorage,
    async createStored () {
      const path = folder()
      let storage = null
      return async (...args) => {
        await storage?.close()
        storage = new Storage(path)
        const core = new Hypercore(storage, ...args)
        defer(() => core.close().catch(() => {}))
        return core
      }
    },
    replicate: (a, b) => {
      const { one, other } = scene.replicate(a, b)
      return [one, other]
    }
  })
  await t.planned()
}

/** Destroys both ends of a replication. */
export function unreplicate (streams) {
  return Promise.all(streams.map((stream) => new Promise((resolve) => {
    stream.on('close', resolve)
    stream.destroy()
  })))
}

export const eventFlush = () => new Promise((resolve) => { (globalThis.setImmediate ?? setTimeout)(resolve) })
export const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds))

/** Assertions as of brittle, which are noted. */
export function assertions ({ note, defer, folder }, isEqual) {
  let left = 0
  let resolve
  const all = new Promise((done) => { resolve = done })
  const count = () => { if (left > 0 && --left === 0) resolve() }
  const holds = (kind, isTrue, ...values) => {
    if (!isTrue) throw new Error(`${kind}: ${values.map((value) => inspect(value)).join(', ')}`)
    note(kind)
    count()
  }
  const exception = async (promise, pattern) => {
    try {
      await (typeof promise === 'function' ? promise() : promise)
    } catch (error) {
      const message = String(error.message).replace(/ \(discovery key: \w+\)/, '')
      if (pattern && !pattern.test(message)) throw new Error(`${message} is not like ${pattern}`)
      note('exception', error.code, error.code ? message : null)
      count()
      return
    }
    throw new Error('it did not throw')
  }
  exception.all = exception
  return {
    plan (assertions) { left = assertions },
    planned: () => left > 0 ? all : null,
    is: (a, b) => { holds('is', Object.is(a, b), a, b) },
    not: (a, b) => { holds('not', !Object.is(a, b), a) },
    alike: (a, b) => { holds('alike', isEqual(a, b), a, b) },
    unlike: (a, b) => { holds('unlike', !isEqual(a, b), a) },
    ok: (a) => { holds('ok', !!a, a) },
    absent: (a) => { holds('absent', !a, a) },
    pass: (what = '') => { holds(`pass ${what}`, true) },
    fail: (what = '') => { holds(`fail ${what}`, false) },
    exception,
    async execution (promise) {
      await (typeof promise === 'function' ? promise() : promise)
      count()
    },
    tmp: async () => folder(),
    teardown: defer
  }
}

function inspect (value) {
  return value instanceof Uint8Array ? toHex(value) : String(JSON.stringify(value))
}
