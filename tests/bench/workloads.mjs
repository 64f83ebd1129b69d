// The workloads of upstream.cjs for a class Hypercore that may live in a browser: same names, same bytes, fewer of them.

// Deterministic bytes: xorshift32, seeded by the block index.
export function block (index, size) {
  const words = new Uint32Array(size / 4)
  let state = Math.imul(index + 1, 2654435761) >>> 0
  for (let at = 0; at < words.length; at++) {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    words[at] = state
  }
  return new Uint8Array(words.buffer)
}

export const blocks = (from, count, size) => Array.from({ length: count }, (_, i) => block(from + i, size))

async function timed (run) {
  const start = performance.now()
  await run()
  return (performance.now() - start) / 1000
}

/**
 * Runs workloads and returns their figures.
 *
 * @param {object} host
 * @param {any} host.Hypercore the class
 * @param {() => any} host.place returns new, empty storage
 * @param {{ key: string, length: number, size: number, open: () => Promise<{ replicate: (stream: any) => void, close: () => void }> }} [host.remote]
 *   a core of upstream's behind a WebSocket
 * @returns {Promise<[name: string, value: number, unit: string][]>}
 */
export async function measure ({ Hypercore, place, remote }) {
  const figures = []
  const append = async (name, count, size, batch, figure) => {
    const core = new Hypercore(place())
    await core.ready()
    const all = blocks(0, count, size)
    const seconds = await timed(async () => {
      for (let i = 0; i < count; i += batch) await core.append(batch === 1 ? all[i] : all.slice(i, i + batch))
    })
    figures.push([name, ...figure(count / seconds)])
    return core
  }
  const perSecond = (value) => [value, 'blocks/s']
  const megabytes = (value) => [value * 65536 / 1e6, 'MB/s']

  await (await append('append-single-1k', 500, 1024, 1, perSecond)).close()

  const core = await append('append-batch-1k', 20000, 1024, 1000, perSecond)
  const sequential = await timed(async () => { for (let i = 0; i < 5000; i++) await core.get(i) })
  figures.push(['get-sequential-1k', 5000 / sequential, 'blocks/s'])
  let state = 12345
  const random = await timed(async () => {
    for (let i = 0; i < 5000; i++) {
      state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff
      await core.get(state % 20000)
    }
  })
  figures.push(['get-random-1k', 5000 / random, 'blocks/s'])
  await core.close()

  await (await append('append-batch-64k', 500, 65536, 50, megabytes)).close()

  if (remote) {
    const reader = new Hypercore(place(), remote.key)
    await reader.ready()
    const seconds = await timed(async () => {
      const link = await remote.open()
      link.replicate(reader.replicate(true, { keepAlive: false }))
      await reader.update({ wait: true })
      await reader.download({ start: 0, end: remote.length }).done()
      link.close()
    })
    figures.push(['replicate-64k', remote.length * remote.size / seconds / 1e6, 'MB/s'])
    await reader.close()
  }
  return figures
}

/** Opens a WebSocket that carries a replication stream, with no more in flight than it takes. */
export function overWebSocket (url, WebSocket = globalThis.WebSocket) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url)
    socket.binaryType = 'arraybuffer'
    socket.onerror = () => reject(new Error('the WebSocket does not open'))
    socket.onopen = () => resolve({
      replicate (stream) {
        stream.on('error', () => {})
        stream.on('data', (bytes) => socket.send(bytes))
        socket.onmessage = ({ data }) => stream.write(new Uint8Array(data))
        socket.onclose = () => stream.destroy()
      },
      close: () => socket.close()
    })
  })
}
