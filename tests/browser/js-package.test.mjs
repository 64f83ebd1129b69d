// The package in a page, imported as a user would: storage that stays, one writer, clear complaints.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'

import { root } from '../../scripts/lib/run.mjs'
import { openPage, servePackage, startBrowser } from './support/browser.mjs'

test('what a core wrote in a page is there after a reload', async (t) => {
  const { url } = await servePackage(t)
  const context = await startBrowser(t)
  const { page, problems } = await openPage(context, url)

  const key = await page.evaluate(async () => {
    const { Hypercore } = await import('/hypertab/browser/index.js')
    const core = new Hypercore('log', { valueEncoding: 'json' })
    await core.append([{ n: 1 }, { n: 2 }])
    await core.setUserData('name', 'value')
    return core.id
  })
  await page.reload()
  const found = await page.evaluate(async () => {
    const { Hypercore } = await import('/hypertab/browser/index.js')
    const core = new Hypercore('log', { valueEncoding: 'json' })
    await core.ready()
    const name = new TextDecoder().decode(await core.getUserData('name'))
    await core.append({ n: 3 })
    return { id: core.id, writable: core.writable, length: core.length, second: await core.get(1), name, key: core.key.constructor.name }
  })

  assert.deepEqual(found, { id: key, writable: true, length: 3, second: { n: 2 }, name: 'value', key: 'Uint8Array' })
  assert.deepEqual(problems, [])
})

test('a tab without locks takes the store over, whoever has the lock takes it back, and one of them writes', async (t) => {
  const { url } = await servePackage(t)
  const context = await startBrowser(t)
  const { page: first } = await openPage(context, url)
  const { page: second } = await openPage(context, url)
  const open = async (isLocked) => {
    if (!isLocked) Object.defineProperty(Navigator.prototype, 'locks', { get: () => undefined })
    const { Hypercore } = await import('/hypertab/browser/index.js')
    globalThis.core = new Hypercore('fenced')
    await core.ready()
    return core.length
  }
  const append = (text) => core.append(text).then(({ length }) => length, (error) => error.cause?.code)

  await first.evaluate(open, true)
  assert.equal(await first.evaluate(append, 'first'), 1)
  assert.equal(await second.evaluate(open, false), 1)
  assert.equal(await first.evaluate(append, 'second'), 2)
  assert.equal(await second.evaluate(append, 'a second history'), 'STORAGE_TAKEN_OVER')
  await first.close()
  await second.evaluate(() => core.close())
  assert.equal(await second.evaluate(open, false), 2)
  assert.deepEqual(await second.evaluate(async () => {
    const blocks = [await core.get(0), await core.get(1)]
    return blocks.map((block) => new TextDecoder().decode(block))
  }), ['first', 'second'])
})

test('two cores replicate in a page, through the classes of one module', async (t) => {
  const { url } = await servePackage(t)
  const { page, problems } = await openPage(await startBrowser(t), url)

  const result = await page.evaluate(async () => {
    const { Hypercore, memory, ready } = await import('/hypertab/browser/index.js')
    const before = (() => { try { Hypercore.discoveryKey(new Uint8Array(32)) } catch (error) { return error.code } })()
    await ready()
    const a = new Hypercore(memory())
    await a.append(Array.from({ length: 200 }, (_, i) => `block ${i}`))
    const b = new Hypercore(memory(), a.key, { valueEncoding: 'utf-8' })
    const one = a.replicate(true)
    const other = b.replicate(false)
    one.pipe(other).pipe(one)
    await b.download({ start: 0, end: 200 }).done()
    const last = await b.get(199)
    const events = typeof a.on
    await a.close()
    await b.close()
    return { before, last, length: b.id === a.id, events }
  })

  assert.deepEqual(result, { before: 'ENGINE_NOT_LOADED', last: 'block 199', length: true, events: 'function' })
  assert.deepEqual(problems, [])
})

test('an engine that is answered with a page is complained about in words', async (t) => {
  const html = { type: 'text/html', body: '<!doctype html>' }
  const moved = await servePackage(t, { '/elsewhere.wasm': html })
  const { page } = await openPage(await startBrowser(t), moved.url)

  const [wrong, right] = await page.evaluate(async () => {
    const { Hypercore, memory, ready } = await import('/hypertab/browser/index.js')
    const wrong = await ready('/elsewhere.wasm').catch((error) => `${error.code} ${error.message}`)
    await ready()
    const core = new Hypercore(memory())
    await core.append('x')
    return [wrong, core.length]
  })

  assert.match(wrong, /^ENGINE_NOT_LOADED .*a page came instead/)
  assert.equal(right, 1)
})

test('what a page may not do is told in words', async (t) => {
  const policy = '<!doctype html><meta http-equiv="Content-Security-Policy" content="script-src \'self\'"><link rel=icon href=data:,>'
  const { url } = await servePackage(t, { '/policy.html': { type: 'text/html; charset=utf-8', body: policy } })
  const context = await startBrowser(t)
  const append = async () => {
    const { Hypercore, memory } = await import('/hypertab/browser/index.js')
    const say = (storage) => new Hypercore(storage).append('x').then(({ length }) => length, ({ code, message, cause }) => `${code} ${message} ${cause?.name}`)
    return [await say('path'), await say(memory())]
  }
  const refused = /^STORAGE_NOT_AVAILABLE .* SecurityError$/

  const { page: strict } = await openPage(context, `${url}/policy.html`)
  for (const said of await strict.evaluate(append)) assert.match(said, /^ENGINE_NOT_LOADED .*script-src 'wasm-unsafe-eval' CompileError$/)
  const refusals = [
    // As where cookies are blocked.
    () => { Object.defineProperty(globalThis, 'indexedDB', { get () { throw new DOMException('insecure', 'SecurityError') } }) },
    // As in a frame in a sandbox.
    () => { LockManager.prototype.request = () => Promise.reject(new DOMException('denied', 'SecurityError')) }
  ]
  for (const refuse of refusals) {
    const { page } = await openPage(context, url)
    await page.evaluate(refuse)
    const [path, inMemory] = await page.evaluate(append)
    assert.match(path, refused)
    assert.equal(inMemory, 1)
  }
})

test('a core in a worker writes to a file of the origin', async (t) => {
  const worker = `
    import { Hypercore, opfs } from '/hypertab/browser/index.js'
    const core = new Hypercore(opfs('log'), { valueEncoding: 'utf-8' })
    await core.append('in a file')
    postMessage([core.length, await core.get(0)])
    await core.close()
    postMessage('closed')
  `
  const { url } = await servePackage(t, { '/worker.js': { type: 'text/javascript', body: worker } })
  const { page, problems } = await openPage(await startBrowser(t), url)
  const run = () => new Promise((resolve, reject) => {
    const worker = new Worker('/worker.js', { type: 'module' })
    const messages = []
    worker.onmessage = ({ data }) => { messages.push(data); if (data === 'closed') resolve(messages) }
    worker.onerror = (event) => reject(new Error(event.message))
  })

  assert.deepEqual(await page.evaluate(run), [[1, 'in a file'], 'closed'])
  assert.deepEqual(await page.evaluate(run), [[2, 'in a file'], 'closed'])
  assert.deepEqual(problems, [])
})

test('the modules of the package import nothing by a bare name', () => {
  const dist = join(root, 'wasm', 'dist', 'browser')
  const seen = new Set()
  const visit = (file) => {
    if (seen.has(file)) return
    seen.add(file)
    for (const [, specifier] of readFileSync(file, 'utf8').matchAll(/(?:^|;)(?:import|export)(?:[^;"'`()]*\bfrom)?\s*["']([^"'\n]+)["']/gm)) {
      assert.match(specifier, /^\.\.?\//, `${file} imports ${specifier}`)
      if (!specifier.includes('/engine/')) visit(join(dist, specifier))
    }
  }
  for (const entry of ['index', 'hypercore', 'corestore', 'hyperbee', 'hyperblobs', 'hypertrie', 'hyperdrive', 'mirror-drive', 'blind-peering', 'hyperswarm', 'dht', 'protomux', 'secret-stream', 'storage', 'level', 'inspector', 'worker', 'worker-host', 'service-worker']) visit(join(dist, `${entry}.js`))
  assert.ok(seen.size > 5)
})
