// One program, run with upstream's class and with ours: what it says must be the same.

import assert from 'node:assert/strict'
import test from 'node:test'

import Hypercore from 'hypercore'
import Hypertab from 'hypertab/hypercore'

import { defer } from './cleanup.mjs'
import { temporaryFolder } from './folder.mjs'

/** The implementations, by name. */
export const implementations = { upstream: Hypercore, hypertab: Hypertab }

/**
 * Runs a program with each implementation and compares what it notes.
 *
 * The program gets `{ Hypercore, note, create, folder }`: `create(...args)` opens a core in a folder of its own,
 * `note(...values)` writes down what is to be the same.
 *
 * @param {string} name
 * @param {(scene: object) => unknown} program
 */
export function sameWithBoth (name, program) {
  test(name, async (t) => {
    const notes = {}
    for (const [implementation, Class] of Object.entries(implementations)) {
      notes[implementation] = await play(t, Class, program)
    }
    assert.deepEqual(notes.hypertab, notes.upstream)
  })
}

/** Runs a program with one implementation on each side, in every combination. */
export function sameWithEveryPair (name, program) {
  test(name, async (t) => {
    const expected = await play(t, [Hypercore, Hypercore], program)
    for (const [one, other] of [['hypertab', 'upstream'], ['upstream', 'hypertab'], ['hypertab', 'hypertab']]) {
      await t.test(`${one} and ${other}`, async (t) => {
        assert.deepEqual(await play(t, [implementations[one], implementations[other]], program), expected)
      })
    }
  })
}

async function play (t, classes, program) {
  const notes = []
  const undo = []
  const [A, B = A] = [classes].flat()
  const create = async (Class, args) => {
    const core = new Class(temporaryFolder(t), ...args)
    undo.push(() => core.close())
    core.on('error', () => {})
    await core.ready()
    return core
  }
  const scene = {
    A,
    B,
    Hypercore: A,
    note: (...values) => { notes.push(values.map(plain)) },
    folder: () => temporaryFolder(t),
    create: (...args) => create(A, args),
    createA: (...args) => create(A, args),
    createB: (...args) => create(B, args),
    defer: (step) => { undo.push(step) },
    replicate: (a, b, options) => replicate(undo, a, b, options)
  }
  defer(t, async () => { for (const step of undo.reverse()) await step() })
  await program(scene)
  return notes
}

/** Joins two cores by a pipe in memory. */
function replicate (undo, a, b, options = {}) {
  const one = a.replicate(true, { keepAlive: false, ...options })
  const other = b.replicate(false, { keepAlive: false, ...options })
  one.on('error', () => {})
  other.on('error', () => {})
  one.pipe(other).pipe(one)
  const end = () => Promise.all([one, other].map((stream) => new Promise((resolve) => {
    if (stream.destroyed) return resolve()
    stream.on('close', resolve)
    stream.destroy()
  })))
  undo.push(end)
  return { one, other, end }
}

/** Waits until something is true. */
export async function eventually (condition, what = 'a condition', patience = 10_000) {
  const end = Date.now() + patience
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`took over ${patience} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

/** Waits until a stream has closed, whether it failed or not. */
export function closed (stream) {
  return new Promise((resolve) => { stream.on('close', resolve) })
}

/** What a promise comes to, as something to note. */
export async function outcome (promise) {
  try {
    return { value: plain(await promise) }
  } catch (error) {
    return { error: plain(error) }
  }
}

/** A value as it can be compared. */
export function plain (value) {
  if (value instanceof Error) return { code: value.code, message: value.message, name: value.name }
  if (value instanceof Uint8Array) return `${Buffer.isBuffer(value) ? 'buffer' : 'bytes'}:${Buffer.from(value).toString('hex')}`
  if (Array.isArray(value)) return value.map(plain)
  if (value !== null && typeof value === 'object') {
    return Object.fromEntries(Object.entries(value).map(([key, field]) => [key, plain(field)]))
  }
  return typeof value === 'function' ? 'function' : value
}
