// Tests in the manner of upstream's own, which are written for the runner `brittle`: each runs with upstream's classes
// and with ours, must hold with both, and has to fail in the same way where it is to fail.

import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { isDeepStrictEqual } from 'node:util'

import CoreStorage from 'hypercore-storage'
import Hypertab from 'hypertab/hypercore'
import { HypercoreStorage } from 'hypertab/storage'

import { sameWithBoth, sameWithEveryPair } from './both.mjs'

const require = createRequire(import.meta.url)

/** Parts of either package, by the path that programs import them from. */
export const partsOf = (name) => (path) => require(`${name === 'hypertab' ? 'hypertab/hypercore' : 'hypercore'}/${path}`)

/**
 * Runs a test with each implementation.
 *
 * @param {string} name
 * @param {(t: object, scene: object) => unknown} program gets assertions as of brittle, and `create(t, ...args)`,
 * `createStored(t)`, `createStorage(t)`, `replicate(a, b, t)`, `Hypercore`, `CoreStorage` and `lib(path)`
 */
export function suite (name, program) {
  sameWithBoth(name, (scene) => play(scene, program))
}

/** Runs a test of two peers with every pair of implementations; `createA` and `createB` make their cores. */
export function suiteOfPairs (name, program) {
  sameWithEveryPair(name, (scene) => play(scene, program))
}

async function play (scene, program) {
  const { Hypercore, note, folder, defer } = scene
  const isOurs = Hypercore === Hypertab
  const Storage = isOurs ? HypercoreStorage : CoreStorage
  const createStorage = async () => {
    const storage = new Storage(folder())
    defer(() => storage.close())
    return storage
  }
  const t = assertions(note, defer, folder)
  await program(t, {
    ...scene,
    CoreStorage: Storage,
    lib: partsOf(isOurs ? 'hypertab' : 'hypercore'),
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

export const eventFlush = () => new Promise((resolve) => setImmediate(resolve))
export const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds))

function assertions (note, defer, folder) {
  let left = 0
  let resolve
  const all = new Promise((done) => { resolve = done })
  const count = () => { if (left > 0 && --left === 0) resolve() }
  const holds = (kind, isTrue, ...values) => {
    if (!isTrue) assert.fail(`${kind}: ${values.map((value) => inspect(value)).join(', ')}`)
    note(kind)
    count()
  }
  const exception = async (promise, pattern) => {
    try {
      await (typeof promise === 'function' ? promise() : promise)
    } catch (error) {
      const message = String(error.message).replace(/ \(discovery key: \w+\)/, '')
      if (pattern) assert.match(message, pattern)
      note('exception', error.code, error.code ? message : null)
      count()
      return
    }
    assert.fail('it did not throw')
  }
  exception.all = exception
  return {
    plan (assertions) { left = assertions },
    planned: () => left > 0 ? all : null,
    is: (a, b) => { holds('is', Object.is(a, b), a, b) },
    not: (a, b) => { holds('not', !Object.is(a, b), a) },
    alike: (a, b) => { holds('alike', isDeepStrictEqual(a, b), a, b) },
    unlike: (a, b) => { holds('unlike', !isDeepStrictEqual(a, b), a) },
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
  return value instanceof Uint8Array ? Buffer.from(value).toString('hex') : String(JSON.stringify(value))
}
