// The workloads of upstream.cjs for classes that may live in a browser: same names, same bytes, of blocks fewer.

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
 * @param {any} host.Corestore the classes
 * @param {any} host.Hyperbee
 * @param {any} host.Hypercore
 * @param {any} host.Hyperdrive
 * @param {() => any} host.place returns new, empty storage
 * @param {Remote} host.remote a core of upstream's behind a WebSocket, with large blocks
 * @param {Remote} host.small one with small blocks
 * @param {any} [host.WebSocket] where the realm has none
 * @returns {Promise<[name: string, value: number, unit: string][]>}
 *
 * @typedef {{ url: string, key: string, length: number, size: number }} Remote
 */
export async function measure ({ Corestore, Hyperbee, Hypercore, Hyperdrive, place, remote, small, WebSocket }) {
  const figures = await appendAndGet({ Hypercore, place })
  figures.push(['replicate-1k', small.length / await replicate({ Hypercore, place, remote: small, WebSocket }), 'blocks/s'])
  figures.push(['replicate-64k', remote.length * remote.size / await replicate({ Hypercore, place, remote, WebSocket }) / 1e6, 'MB/s'])
  figures.push(...await open({ Hypercore, place }))
  figures.push(...await bee({ Hyperbee, Hypercore, place }))
  figures.push(...await drive({ Corestore, Hyperdrive, place }))
  return figures
}

async function appendAndGet ({ Hypercore, place }) {
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

  await (await append('append-single-1k', 2000, 1024, 1, perSecond)).close()

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
  return figures
}

/**
 * Downloads a remote core; returns the seconds that it took.
 *
 * @param {{ Hypercore: any, place: () => any, remote: Remote, WebSocket?: any }} host
 */
export async function replicate ({ Hypercore, place, remote, WebSocket }) {
  const reader = new Hypercore(place(), remote.key)
  await reader.ready()
  const seconds = await timed(async () => {
    const link = await overWebSocket(remote.url, WebSocket)
    link.replicate(reader.replicate(true, { keepAlive: false }))
    await reader.update({ wait: true })
    await reader.download({ start: 0, end: remote.length }).done()
    link.close()
  })
  await reader.close()
  return seconds
}

async function open ({ Hypercore, place }) {
  const count = 200000
  const storage = place()
  const core = new Hypercore(storage)
  await core.ready()
  for (let i = 0; i < count; i += 10000) await core.append(blocks(i, 10000, 16))
  await core.close()
  let again
  const seconds = await timed(async () => {
    again = new Hypercore(storage)
    await again.ready()
    await again.get(count - 1)
  })
  await again.close()
  return [['open-200k', seconds * 1000, 'ms']]
}

async function bee ({ Hyperbee, Hypercore, place }) {
  const count = 20000
  const bee = new Hyperbee(new Hypercore(place()), { keyEncoding: 'utf-8', valueEncoding: 'utf-8' })
  await bee.ready()
  const key = (i) => 'key-' + String((Math.imul(i, 2654435761) >>> 0) % 1000000007).padStart(10, '0')
  const put = await timed(async () => {
    for (let i = 0; i < count; i += 1000) {
      const batch = bee.batch()
      for (let k = i; k < i + 1000; k++) await batch.put(key(k), 'value-' + k)
      await batch.flush()
    }
  })
  const get = await timed(async () => { for (let i = 0; i < count; i++) await bee.get(key(i)) })
  let rows = 0
  const scan = await timed(async () => { for await (const _ of bee.createReadStream()) rows++ })
  const single = await timed(async () => { for (let i = 0; i < 2000; i++) await bee.put('single-' + i, 'v' + i) })
  await bee.close()
  return [
    ['bee-put-batch', count / put, 'puts/s'],
    ['bee-get', count / get, 'gets/s'],
    ['bee-scan', rows / scan, 'entries/s'],
    ['bee-put-single', 2000 / single, 'puts/s']
  ]
}

async function drive ({ Corestore, Hyperdrive, place }) {
  const count = 2000
  const drive = new Hyperdrive(new Corestore(place()))
  await drive.ready()
  const path = (i) => `/dir${i % 20}/file${i}`
  const contents = blocks(0, count, 8192)
  const put = await timed(async () => { for (let i = 0; i < count; i++) await drive.put(path(i), contents[i]) })
  const get = await timed(async () => { for (let i = 0; i < count; i++) await drive.get(path(i)) })
  let files = 0
  const list = await timed(async () => { for await (const _ of drive.list('/')) files++ })
  await drive.close()
  return [
    ['drive-put-8k', count / put, 'files/s'],
    ['drive-get-8k', count / get, 'files/s'],
    ['drive-list', files / list, 'entries/s']
  ]
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
