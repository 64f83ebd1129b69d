// What programs that are run with several implementations get: cores, replications, notes. Nothing of Node is needed,
// so that the same programs run in a page.

import { replicate } from './pipes.mjs'

/** Runs a program with one implementation, or with one on each side, and returns what it notes. */
export async function play (classes, program, { folder, defer }) {
  const notes = []
  const undo = []
  const [A, B = A] = [classes].flat()
  const create = async (Class, args) => {
    const core = new Class(folder(), ...args)
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
    folder,
    create: (...args) => create(A, args),
    createA: (...args) => create(A, args),
    createB: (...args) => create(B, args),
    defer: (step) => { undo.push(step) },
    replicate: (a, b, options) => replicate(undo, a, b, options)
  }
  defer(async () => { for (const step of undo.reverse()) await step() })
  await program(scene)
  return notes
}

/** Waits until something is true. */
export async function eventually (condition, what = 'a condition', patience = 10_000) {
  const end = Date.now() + patience
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`took over ${patience} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

/** Resolves to what comes with the first event of a name. An error is no more than another event. */
export function first (emitter, name) {
  return new Promise((resolve) => { emitter.once(name, resolve) })
}

/** Waits until a stream has closed, whether it failed or not. */
export function closed (stream) {
  return new Promise((resolve) => { stream.on('close', resolve) })
}

/** What a call comes to, whether it throws, rejects or returns, as something to note. */
export function outcomeOf (run) {
  return outcome((async () => await run())())
}

/** What a promise comes to, as something to note. */
export async function outcome (promise) {
  try {
    return { value: plain(await promise) }
  } catch (error) {
    return { error: plain(error) }
  }
}

/** What a call comes to in time, or that it waits. */
export function within (milliseconds, promise) {
  let timer
  const late = new Promise((resolve) => { timer = setTimeout(resolve, milliseconds, { value: 'waits' }) })
  return Promise.race([promise, late]).finally(() => { clearTimeout(timer) })
}

/** A value as it can be compared. */
export function plain (value) {
  if (value instanceof Error) return { code: value.code, message: value.message, name: value.name }
  if (value instanceof Uint8Array) return `${value.constructor.name === 'Buffer' ? 'buffer' : 'bytes'}:${toHex(value)}`
  if (Array.isArray(value)) return value.map(plain)
  if (value !== null && typeof value === 'object') {
    return Object.fromEntries(Object.entries(value).map(([key, field]) => [key, plain(field)]))
  }
  return typeof value === 'function' ? 'function' : value
}

export function toHex (bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
}
