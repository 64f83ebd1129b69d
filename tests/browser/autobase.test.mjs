// Upstream's Autobase in a page: bundled as it is, with the imports of cores and tables changed to ours, over IndexedDB.

import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { writeFileSync } from 'node:fs'
import test from 'node:test'

import webpack from 'webpack'

import { temporaryFolder } from '../interop/support/folder.mjs'
import { openPage, servePackage, startBrowser } from './support/browser.mjs'

const require = createRequire(import.meta.url)

const PAGE = `
  import Autobase from 'autobase'
  import b4a from 'b4a'
  import Corestore from 'corestore'
  import Hyperbee from 'hyperbee'
  export * from '${join(import.meta.dirname, '..', 'interop', 'support', 'autobase.mjs')}'
  export { Autobase, b4a, Corestore, Hyperbee }
`

/** The bundle of a page whose packages ask for upstream's cores and get ours. */
async function bundle (t) {
  const folder = temporaryFolder(t)
  writeFileSync(join(folder, 'main.js'), PAGE)
  writeFileSync(join(folder, 'process.js'), 'module.exports = { env: {}, versions: {} }')
  const alias = { 'sodium-native': 'sodium-javascript' }
  for (const name of ['hypercore/lib/default-encryption.js', 'hypercore/lib/multisig.js']) alias[name] = `hypertab/${name}`
  for (const name of ['hypercore', 'corestore', 'hyperbee']) alias[`${name}$`] = `hypertab/${name}`
  const stats = await new Promise((resolve, reject) => {
    webpack({
      mode: 'development',
      devtool: false,
      entry: join(folder, 'main.js'),
      experiments: { outputModule: true },
      output: { path: join(folder, 'out'), filename: 'main.js', library: { type: 'module' } },
      resolve: { alias, modules: ['node_modules', join(import.meta.dirname, '..', '..', 'node_modules')], fallback: { buffer: require.resolve('buffer/'), crypto: false } },
      plugins: [new webpack.ProvidePlugin({ Buffer: [require.resolve('buffer/'), 'Buffer'], process: join(folder, 'process.js') })]
    }, (error, stats) => { if (error) reject(error); else resolve(stats) })
  })
  assert.ok(!stats.hasErrors(), stats.toString({ all: false, errors: true }))
  return join(folder, 'out')
}

test('Autobase runs in a page over stores of ours', async (t) => {
  const { url } = await servePackage(t, { '/bundle/': await bundle(t) })
  const { page, problems } = await openPage(await startBrowser(t), url)
  const views = await page.evaluate(async () => {
    const { Autobase, b4a, baseOptions, Corestore, Hyperbee, viewOf } = await import('/bundle/main.js')
    const errors = []
    const open = async (name, key) => {
      const store = new Corestore(name)
      const base = new Autobase(store.namespace('base'), key, {
        ...baseOptions(Hyperbee),
        encryptionKey: b4a.alloc(32, 7)
      })
      base.on('error', (error) => { errors.push(String(error.stack)) })
      await base.ready()
      return { store, base }
    }
    const until = async (condition) => {
      const end = performance.now() + 15_000
      while (!(await condition())) {
        if (errors.length > 0 || performance.now() > end) throw new Error(errors[0] ?? String(condition))
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
    }
    const link = (one, other) => {
      const [initiator, responder] = [one.store.replicate(true), other.store.replicate(false)]
      for (const stream of [initiator, responder]) stream.on('error', () => {})
      initiator.pipe(responder).pipe(initiator)
      return () => Promise.all([initiator, responder].map((stream) => new Promise((resolve) => {
        stream.on('close', resolve)
        stream.destroy()
      })))
    }
    const a = await open('a', null)
    let b = await open('b', a.base.key)
    let unlink = link(a, b)
    await a.base.append({ add: b4a.toString(b.base.local.key, 'hex') })
    for (let i = 0; i < 5; i++) await a.base.append({ key: `a${i}` })
    await until(async () => { await b.base.update(); return b.base.writable })
    await b.base.append({ key: 'b' })
    const converged = () => until(async () => {
      const heads = new Set()
      for (const { base } of [a, b]) {
        await base.update()
        heads.add(JSON.stringify(base.heads().map(({ key, length }) => [b4a.toString(key, 'hex'), length]).sort()) + base.view.list.length)
      }
      return heads.size === 1
    })
    // They confirm in turn until a majority has signed everything. Of two that confirm at once, by what each had seen before, Autobase
    // asks neither again, and signs no more until somebody writes.
    const confirmed = (length) => until(async () => {
      for (const { base } of [a, b]) {
        await converged()
        await base.ack()
      }
      return [a, b].every(({ base }) => base.view.list.length === length && base.view.list.signedLength === length)
    })
    await confirmed(6)
    const views = [await viewOf(a.base), await viewOf(b.base)]
    await unlink()
    await b.base.close()
    await b.store.close()
    b = await open('b', a.base.key)
    await b.base.update()
    views.push(await viewOf(b.base))
    unlink = link(a, b)
    await b.base.append({ key: 'c' })
    await confirmed(7)
    views.push(await viewOf(a.base), await viewOf(b.base))
    await unlink()
    for (const { base, store } of [a, b]) {
      await base.close()
      await store.close()
    }
    if (errors.length > 0) throw new Error(errors[0])
    return views
  })
  const [before, after] = [['a0', 'a1', 'a2', 'a3', 'a4', 'b'], ['a0', 'a1', 'a2', 'a3', 'a4', 'b', 'c']]
  const hashes = [0, 0, 0, 3, 3].map((at) => views[at].hash)
  assert.deepEqual(views, [before, before, before, after, after].map((keys, at) => ({ entries: keys, keys, hash: hashes[at], signed: keys.length })))
  assert.deepEqual(problems, [])
})
