// Replication without a network, for programs that run in Node and in a page.

/** Joins two cores, stores or drives by a pipe in memory; its end is put on the list of what is to be undone. */
export function replicate (undo, a, b, options = {}) {
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
