// A log as a list, and what is done to it. What is done next depends on the seed, on how much was done, and on the list:
// so whoever has these knows the list after any number of steps, and a page need not tell.

import { randomOf } from '../../interop/support/torn-file.mjs'

/** Blocks above which the log is cut, and pieces of user data. */
const MOST = 300
const NAMES = ['a', 'b', 'c', 'd']

/** The log after so many steps. */
export class LogModel {
  /** How many steps there were. */
  at = 0
  fork = 0
  /** Number and size of each block, and whether it was cleared. */
  blocks = []
  userData = {}
  #seed

  constructor (seed, state = {}) {
    this.#seed = seed
    Object.assign(this, structuredClone(state))
  }

  get state () {
    const { at, fork, blocks, userData } = this
    return { at, fork, blocks, userData }
  }

  get byteLength () {
    return this.blocks.reduce((sum, { size }) => sum + size, 0)
  }

  clone () {
    return new LogModel(this.#seed, this.state)
  }

  /** What comes next: a kind, and what it takes. */
  next () {
    const below = randomOf((Math.imul(this.#seed, 7919) + this.at) & 0xfffff)
    const { length } = this.blocks
    const kind = length > MOST ? 90 : below(100)
    if (kind < 72) {
      const count = kind < 60 ? 1 : 1 + below(12)
      return { kind: 'append', blocks: Array.from({ length: count }, (_, at) => ({ number: this.at * 16 + at, size: sizeOf(below) })) }
    }
    if (kind < 84) {
      const start = below(length + 1)
      return { kind: 'clear', start, end: start + 1 + below(below(4) === 0 ? 40 : 3) }
    }
    if (kind < 92) return { kind: 'truncate', length: length > MOST ? below(MOST / 2) : Math.max(0, length - below(below(8) === 0 ? length + 1 : 6)), fork: this.fork + 1 }
    return { kind: 'userData', name: NAMES[below(NAMES.length)], value: below(4) === 0 ? null : `${this.at}` }
  }

  apply (step) {
    this.at++
    if (step.kind === 'append') this.blocks.push(...step.blocks)
    if (step.kind === 'clear') this.blocks = this.blocks.map((block, at) => at >= step.start && at < step.end ? { ...block, cleared: true } : block)
    if (step.kind === 'truncate') {
      this.blocks.length = step.length
      this.fork = step.fork
    }
    if (step.kind !== 'userData') return
    if (step.value === null) delete this.userData[step.name]
    else this.userData[step.name] = step.value
  }

  /** What a log says that is in this state. */
  picture () {
    const { fork, blocks, userData } = this
    return { fork, blocks: blocks.map((block) => block.cleared ? null : fingerprint(contentOf(block))), userData: Object.entries(userData).sort() }
  }
}

/** The same of a log that is open. */
export async function pictureOf (core) {
  const blocks = []
  for (let index = 0; index < core.length; index++) {
    const block = await core.get(index, { wait: false })
    blocks.push(block && fingerprint(block))
  }
  const userData = []
  for (const name of NAMES) {
    const value = await core.getUserData(name)
    if (value !== null) userData.push([name, new TextDecoder().decode(value)])
  }
  return { fork: core.fork, blocks, userData }
}

export function contentOf ({ number, size }) {
  const bytes = new Uint8Array(size)
  for (let at = 0; at < size; at++) bytes[at] = (number * 31 + at * 17 + (at >> 8)) & 0xff
  return bytes
}

export function fingerprint (bytes) {
  let hash = 0x811c9dc5
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193)
  return `${bytes.byteLength}:${hash >>> 0}`
}

// Most blocks are small; some fill more than a record or a page of what stores them.
function sizeOf (below) {
  const kind = below(100)
  return kind < 5 ? 0 : kind < 85 ? below(120) : kind < 98 ? below(5000) : below(90_000)
}
