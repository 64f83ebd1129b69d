// Times upstream's log on fixed workloads: node upstream.cjs [name ...]
//
// Prints one line a figure: name, value, unit, with tabs between. `hypertab-bench` has the same workloads, the same
// names and the same bytes.

const fs = require('node:fs')
const net = require('node:net')
const os = require('node:os')
const path = require('node:path')

const Corestore = require('corestore')
const Hyperbee = require('hyperbee')
const Hypercore = require('hypercore')
const Hyperdrive = require('hyperdrive')

const only = new Set(process.argv.slice(2))
const root = fs.mkdtempSync(path.join(os.tmpdir(), 'hypertab-bench-'))
let folders = 0
const folder = () => path.join(root, String(folders++))
const out = (name, value, unit) => console.log(`${name}\t${value.toPrecision(5)}\t${unit}`)

// Deterministic bytes: xorshift32, seeded by the block index.
function block (index, size) {
  const bytes = Buffer.allocUnsafe(size)
  let state = Math.imul(index + 1, 2654435761) >>> 0
  for (let at = 0; at + 4 <= size; at += 4) {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    bytes.writeUInt32LE(state >>> 0, at)
  }
  return bytes
}

const blocks = (from, count, size) => Array.from({ length: count }, (_, i) => block(from + i, size))

async function timed (run) {
  const start = process.hrtime.bigint()
  await run()
  return Number(process.hrtime.bigint() - start) / 1e9
}

async function writer (count, size, batch) {
  const core = new Hypercore(folder())
  await core.ready()
  for (let i = 0; i < count; i += batch) await core.append(blocks(i, batch, size))
  return core
}

async function replicate (count, size, batch) {
  const from = await writer(count, size, batch)
  const to = new Hypercore(folder(), from.key)
  await to.ready()
  const join = (socket, isInitiator) => {
    const stream = (isInitiator ? to : from).replicate(isInitiator, { keepAlive: false })
    for (const end of [socket, stream]) end.on('error', () => {})
    socket.pipe(stream).pipe(socket)
  }
  const server = net.createServer((socket) => join(socket, false))
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  const seconds = await timed(async () => {
    const socket = net.connect(server.address().port, '127.0.0.1')
    join(socket, true)
    await to.update({ wait: true })
    await to.download({ start: 0, end: count }).done()
    socket.destroy()
  })
  server.close()
  await from.close()
  await to.close()
  return seconds
}

/** The way there and back takes this much longer, in milliseconds. */
const ROUND_TRIP = 20

/** Serves a core or a drive; what is sent arrives half a round trip later. */
async function serve (from) {
  const server = net.createServer((socket) => pipeLate(from.replicate(false, { keepAlive: false }), socket))
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  return server.address().port
}

function pipeLate (stream, socket) {
  socket.setNoDelay(true)
  for (const end of [socket, stream]) end.on('error', () => {})
  for (const [from, to] of [[stream, socket], [socket, stream]]) {
    from.on('data', (data) => setTimeout(() => { if (!to.destroyed) to.write(data) }, ROUND_TRIP / 2))
    from.on('close', () => to.destroy())
  }
}

/** What a read of an empty copy costs: blocks, and how many round trips would have taken as long. */
async function measured (port, copy, cores, read, more = async () => []) {
  const socket = net.connect(port, '127.0.0.1')
  socket.setNoDelay(true)
  const stream = copy.replicate(true, { keepAlive: false })
  for (const end of [socket, stream]) end.on('error', () => {})
  socket.pipe(stream).pipe(socket)
  await copy.update({ wait: true })
  let blocks = 0
  for (const core of [...cores, ...await more()]) core.on('download', () => { blocks++ })
  const trips = await timed(read) * 1000 / ROUND_TRIP
  // What comes late counts too.
  await new Promise((resolve) => setTimeout(resolve, 4 * ROUND_TRIP))
  socket.destroy()
  await copy.close()
  return { blocks, trips }
}

async function mean (times, read) {
  const sum = { blocks: 0, trips: 0 }
  for (let i = 0; i < times; i++) {
    const { blocks, trips } = await read(i)
    sum.blocks += blocks / times
    sum.trips += trips / times
  }
  return sum
}

const cases = {
  async 'append-single-1k' () {
    const core = await writer(0, 0, 1)
    const all = blocks(0, 5000, 1024)
    const seconds = await timed(async () => { for (const one of all) await core.append(one) })
    out('append-single-1k', all.length / seconds, 'blocks/s')
    await core.close()
  },

  async 'append-batch-1k' () {
    const count = 50000
    const core = await writer(0, 0, 1)
    const all = blocks(0, count, 1024)
    const append = await timed(async () => { for (let i = 0; i < count; i += 1000) await core.append(all.slice(i, i + 1000)) })
    out('append-batch-1k', count / append, 'blocks/s')
    const sequential = await timed(async () => { for (let i = 0; i < count; i++) await core.get(i) })
    out('get-sequential-1k', count / sequential, 'blocks/s')
    let state = 12345
    const random = await timed(async () => {
      for (let i = 0; i < count; i++) {
        state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff
        await core.get(state % count)
      }
    })
    out('get-random-1k', count / random, 'blocks/s')
    await core.close()
  },

  async 'append-batch-64k' () {
    const core = await writer(0, 0, 1)
    const all = blocks(0, 2000, 65536)
    const seconds = await timed(async () => { for (let i = 0; i < 2000; i += 50) await core.append(all.slice(i, i + 50)) })
    out('append-batch-64k', 2000 * 65536 / seconds / 1e6, 'MB/s')
    await core.close()
  },

  async 'replicate-1k' () {
    out('replicate-1k', 20000 / await replicate(20000, 1024, 1000), 'blocks/s')
  },

  async 'replicate-64k' () {
    out('replicate-64k', 1000 * 65536 / await replicate(1000, 65536, 50) / 1e6, 'MB/s')
  },

  async bee () {
    const count = 20000
    const core = await writer(0, 0, 1)
    const bee = new Hyperbee(core, { keyEncoding: 'utf-8', valueEncoding: 'utf-8' })
    await bee.ready()
    const key = (i) => 'key-' + String((Math.imul(i, 2654435761) >>> 0) % 1000000007).padStart(10, '0')
    const put = await timed(async () => {
      for (let i = 0; i < count; i += 1000) {
        const batch = bee.batch()
        for (let k = i; k < i + 1000; k++) await batch.put(key(k), 'value-' + k)
        await batch.flush()
      }
    })
    out('bee-put-batch', count / put, 'puts/s')
    const get = await timed(async () => { for (let i = 0; i < count; i++) await bee.get(key(i)) })
    out('bee-get', count / get, 'gets/s')
    let rows = 0
    const scan = await timed(async () => { for await (const _ of bee.createReadStream()) rows++ })
    out('bee-scan', rows / scan, 'entries/s')
    const single = await timed(async () => { for (let i = 0; i < 2000; i++) await bee.put('single-' + i, 'v' + i) })
    out('bee-put-single', 2000 / single, 'puts/s')
    await bee.close()
  },

  async drive () {
    const count = 2000
    const drive = new Hyperdrive(new Corestore(folder()))
    await drive.ready()
    const path = (i) => `/dir${i % 20}/file${i}`
    const contents = blocks(0, count, 8192)
    const put = await timed(async () => { for (let i = 0; i < count; i++) await drive.put(path(i), contents[i]) })
    out('drive-put-8k', count / put, 'files/s')
    const get = await timed(async () => { for (let i = 0; i < count; i++) await drive.get(path(i)) })
    out('drive-get-8k', count / get, 'files/s')
    let files = 0
    const list = await timed(async () => { for await (const _ of drive.list('/')) files++ })
    out('drive-list', files / list, 'entries/s')
    await drive.close()
  },

  async remote () {
    const print = (name, { blocks, trips }) => {
      out(`remote-${name}-blocks`, blocks, 'blocks')
      out(`remote-${name}-trips`, trips, 'trips')
    }
    const core = await writer(0, 0, 1)
    const text = { keyEncoding: 'utf-8', valueEncoding: 'utf-8' }
    const bee = new Hyperbee(core, text)
    const key = (i) => 'key-' + String((Math.imul(i, 2654435761) >>> 0) % 1000000007).padStart(10, '0')
    for (let i = 0; i < 20000; i += 1000) {
      const batch = bee.batch()
      for (let k = i; k < i + 1000; k++) await batch.put(key(k), 'value-' + k)
      await batch.flush()
    }
    const remoteBee = async (port, read) => {
      const copy = new Hypercore(folder(), core.key)
      const bee = new Hyperbee(copy, text)
      await bee.ready()
      return await measured(port, copy, [copy], () => read(bee))
    }
    let port = await serve(core)
    print('get', await mean(10, (i) => remoteBee(port, (bee) => bee.get(key(i * 1999)))))
    print('scan', await mean(1, () => remoteBee(port, async (bee) => { for await (const _ of bee.createReadStream()); })))

    const drive = new Hyperdrive(new Corestore(folder()))
    await drive.ready()
    for (let i = 0; i < 2000; i++) await drive.put(`/dir${i % 20}/file${i}`, block(i, 8192))
    await drive.put('/large', block(7, 64 << 20))
    const remoteDrive = async (port, read) => {
      const copy = new Hyperdrive(new Corestore(folder()), drive.key)
      await copy.ready()
      return await measured(port, copy, [copy.core], () => read(copy), async () => [(await copy.getBlobs()).core])
    }
    port = await serve(drive)
    print('list', await mean(5, (i) => remoteDrive(port, async (drive) => { for await (const _ of drive.list(`/dir${i}`)); })))
    print('range', await mean(5, (i) => remoteDrive(port, (drive) => drive.get('/large', { start: (i + 2) * (8 << 20) + 1000, length: 320 << 10 }))))
  },

  async open () {
    const count = 200000
    const place = folder()
    let core = new Hypercore(place)
    await core.ready()
    const small = blocks(0, 10000, 16)
    for (let i = 0; i < count; i += small.length) await core.append(small)
    await core.close()
    const seconds = await timed(async () => {
      core = new Hypercore(place)
      await core.ready()
      await core.get(count - 1)
    })
    out('open-200k', seconds * 1000, 'ms')
    await core.close()
  }
}

async function run () {
  for (const [name, measure] of Object.entries(cases)) if (only.size === 0 || only.has(name)) await measure()
  fs.rmSync(root, { recursive: true, force: true })
  process.exit(0)
}

run()
