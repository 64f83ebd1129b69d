// A file that fails when a test says so. It runs in pages and workers, too.

/**
 * Wraps a file with synchronous access.
 *
 * @param {{ read: Function, write: (bytes: Uint8Array, offset: number) => void, sync: () => void, close: () => void }} file
 * @param {{ left: number | null, end: number | null }} faults `left`: bytes that are written yet before everything fails; `end`: how long
 *   the file may become
 */
export function tornFile (file, faults) {
  return {
    read: (buffer, offset) => file.read(buffer, offset),
    write (bytes, offset) {
      if (faults.end !== null && offset + bytes.byteLength > faults.end) throw Object.assign(new Error('no room'), { code: 'ENOSPC' })
      if (faults.left !== null && bytes.byteLength > faults.left) {
        file.write(bytes.subarray(0, faults.left), offset)
        faults.left = 0
        throw new Error('torn')
      }
      file.write(bytes, offset)
      if (faults.left !== null) faults.left -= bytes.byteLength
    },
    sync () {
      if (faults.left === 0) throw new Error('torn')
      file.sync()
    },
    close: () => file.close()
  }
}

/** Draws numbers that come again with the seed. */
export function randomOf (seed) {
  let state = (seed * 2654435761 + 1) >>> 0
  return (bound) => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) % bound
  }
}
