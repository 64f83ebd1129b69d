// What is in the memory of a process.

import { closeSync, openSync, readFileSync, readSync } from 'node:fs'

/** How much is read at once, in bytes. */
const PIECE = 1 << 20

/**
 * Looks for bytes in everything that a child of this process can write to: heap, stacks, buffers. It stands still
 * meanwhile.
 *
 * @param {number} pid
 * @param {Record<string, Uint8Array>} wanted by name
 * @returns {string[]} the names of those that are there
 */
export function findInMemory (pid, wanted) {
  process.kill(pid, 'SIGSTOP')
  const found = new Set()
  const overlap = Math.max(...Object.values(wanted).map((bytes) => bytes.byteLength)) - 1
  const memory = openSync(`/proc/${pid}/mem`, 'r')
  try {
    for (const line of readFileSync(`/proc/${pid}/maps`, 'utf8').split('\n')) {
      const [, start, end] = /^([0-9a-f]+)-([0-9a-f]+) rw/.exec(line) ?? []
      if (start === undefined) continue
      const buffer = Buffer.alloc(PIECE + overlap)
      for (let at = parseInt(start, 16); at < parseInt(end, 16); at += PIECE) {
        const length = Math.min(buffer.byteLength, parseInt(end, 16) - at)
        let read = 0
        try {
          read = readSync(memory, buffer, 0, length, at)
        } catch {
          // A page that is not there.
        }
        const part = buffer.subarray(0, read)
        for (const [name, bytes] of Object.entries(wanted)) if (part.includes(bytes)) found.add(name)
      }
    }
  } finally {
    closeSync(memory)
    process.kill(pid, 'SIGCONT')
  }
  return [...found].sort()
}
