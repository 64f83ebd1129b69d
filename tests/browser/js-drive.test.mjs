// Drives in a page: stored in the browser, there after a reload, and the same bytes as in Node.

import assert from 'node:assert/strict'
import test from 'node:test'

import UpstreamStore from 'corestore'
import UpstreamDrive from 'hyperdrive'

import { defer } from '../interop/support/cleanup.mjs'
import { temporaryFolder } from '../interop/support/folder.mjs'
import { openPage, servePackage, startBrowser } from './support/browser.mjs'

const primaryKey = Buffer.alloc(32, 7)

test('a drive in a page is there after a reload, and has the blocks that upstream writes', async (t) => {
  const upstream = new UpstreamDrive(new UpstreamStore(temporaryFolder(t), { primaryKey, unsafe: true }))
  defer(t, () => upstream.close())
  await upstream.put('/hello.txt', Buffer.from('hello'), { executable: true, metadata: { a: 'ü' } })
  await upstream.put('/large', Buffer.alloc(200_000, 'abc'))
  const batch = upstream.batch()
  await batch.put('/dir/one', Buffer.from('1'))
  await batch.symlink('/dir/link', '/hello.txt')
  await batch.flush()
  await upstream.ready()
  const expected = [upstream.id, Buffer.from(await upstream.core.treeHash()).toString('hex'), Buffer.from(await upstream.blobs.core.treeHash()).toString('hex')]

  const { url } = await servePackage(t)
  const context = await startBrowser(t)
  const { page, problems } = await openPage(context, url)
  const written = await page.evaluate(async () => {
    const { Corestore, Hyperdrive } = await import('/hypertab/browser/index.js')
    const drive = new Hyperdrive(new Corestore('drive', { primaryKey: new Uint8Array(32).fill(7), unsafe: true }))
    // Nothing was awaited: the engine may still be on its way.
    const early = Hyperdrive.normalizePath('a/../b')
    const bytes = (text) => new TextEncoder().encode(text)
    await drive.put('/hello.txt', bytes('hello'), { executable: true, metadata: { a: 'ü' } })
    const large = new Uint8Array(200_000)
    for (let i = 0; i < large.length; i++) large[i] = 'abc'.charCodeAt(i % 3)
    await drive.put('/large', large)
    const batch = drive.batch()
    await batch.put('/dir/one', bytes('1'))
    await batch.symlink('/dir/link', '/hello.txt')
    await batch.flush()
    const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
    return { early, drive: [drive.id, hex(await drive.core.treeHash()), hex(await drive.blobs.core.treeHash())] }
  })
  assert.deepEqual(written, { early: '/b', drive: expected })

  await page.reload()
  const read = await page.evaluate(async () => {
    const { Corestore, Hyperdrive } = await import('/hypertab/browser/hyperdrive.js').then(async (drives) => ({ ...await import('/hypertab/browser/index.js'), Hyperdrive: drives.default }))
    const store = new Corestore('drive')
    const drive = new Hyperdrive(store.session())
    const text = (bytes) => new TextDecoder().decode(bytes)
    const collect = async (stream) => { const all = []; for await (const item of stream) all.push(item); return all }
    const names = (await collect(drive.list())).map(({ key }) => key)
    const hello = await drive.get('/hello.txt')
    const part = text(await drive.get('/large', { start: 65535, length: 4 }))
    const copy = new Hyperdrive(store.namespace('copy'))
    const mirror = drive.mirror(copy, { dedup: true })
    await mirror.done()
    const same = (await copy.get('/large')).byteLength
    const result = { names, hello: text(hello), kind: hello.constructor.name, part, readdir: await collect(drive.readdir('/')), count: mirror.count, same, version: drive.version }
    await copy.close()
    await drive.close()
    await store.close()
    return result
  })
  assert.deepEqual(read, {
    names: ['/dir/link', '/dir/one', '/hello.txt', '/large'],
    hello: 'hello',
    kind: 'Uint8Array',
    part: Buffer.alloc(200_000, 'abc').toString('latin1', 65535, 65539),
    readdir: ['dir', 'hello.txt', 'large'],
    count: { files: 4, add: 4, remove: 0, change: 0 },
    same: 200_000,
    version: 5
  })
  assert.deepEqual(problems, [])
})
