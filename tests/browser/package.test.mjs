// The packed tarball in a fresh folder: Node, Deno and Bun by import and require, and fresh applications of each kind in Chromium.

import assert from 'node:assert/strict'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'

import { root, run } from '../../scripts/lib/run.mjs'
import { serveStatic } from '../../scripts/lib/static-server.mjs'
import { defer } from '../interop/support/cleanup.mjs'
import { openPage, startBrowser } from './support/browser.mjs'
import { PATIENCE_MS, startDemoRelay, startWriter } from './support/demo.mjs'
import { installTarball } from './support/tarball.mjs'
import { startTestnet } from '../interop/support/testnet.mjs'

const PROGRAM = `
  import assert from 'node:assert'
  import { createRequire } from 'node:module'
  import { destroyStorage, folder, Hypercore, memory } from 'hypertab'
  import Core from 'hypertab/hypercore'
  import { memory as also } from 'hypertab/storage'
  import * as everything from 'hypertab'
  const require = createRequire(import.meta.url)
  assert.equal(Core, Hypercore)
  assert.equal(require('hypertab/hypercore'), Hypercore)
  assert.equal(memory, also)
  assert.equal(typeof require('hypertab/corestore'), 'function')
  assert.equal(typeof require('hypertab/hyperswarm'), 'function')
  assert.equal(typeof require('hypertab/dht').keyPair, 'function')
  for (const [entry, name] of [['hyperblobs', 'Hyperblobs'], ['hypertrie', 'Hypertrie'], ['hyperdrive', 'Hyperdrive'], ['mirror-drive', 'MirrorDrive']]) {
    assert.equal((await import('hypertab/' + entry)).default, everything[name])
    assert.equal(require('hypertab/' + entry), everything[name])
  }
  assert.equal((await import('hypertab/localdrive')).default, require('hypertab/localdrive'))
  assert.equal((await import('hypertab/worker')).Hypercore, Hypercore)
  const a = new Hypercore('./log')
  await a.append(['hello', 'world'])
  const b = new Core(memory(), a.key, { valueEncoding: 'utf-8' })
  const [one, other] = [a.replicate(true), b.replicate(false)]
  one.pipe(other).pipe(one)
  console.log(await b.get(1))
  await a.close()
  await b.close()
  await destroyStorage(folder('./log'))
  one.destroy()
  other.destroy()
`

const PAGE = `
  import Hypercore from 'hypertab/hypercore'
  import Hyperswarm from 'hypertab/hyperswarm'
  window.open = async (key, relay) => {
    const core = new Hypercore('log', key, { valueEncoding: 'utf-8' })
    await core.ready()
    const swarm = new Hyperswarm({ relay })
    swarm.on('connection', (connection) => core.replicate(connection))
    swarm.join(core.discoveryKey, { server: false })
    const blocks = await Promise.all([core.get(0), core.get(1)])
    await swarm.destroy({ force: true })
    await core.close()
    return blocks
  }
  window.loaded = true
`

const WORKER_PAGE = `
  import { Corestore, opfs } from 'hypertab/worker'
  window.open = async () => {
    const core = new Corestore(opfs('store')).get({ name: 'log', valueEncoding: 'utf-8' })
    await core.append(['in', 'a worker'])
    return [core.length, await core.get(core.length - 1)]
  }
  window.loaded = true
`

/** Reads a log of a peer in Node over TCP, twice: the second time without it. */
const READER = `
  import { connect } from 'node:net'
  import Hypercore from 'hypertab/hypercore'
  const [key, port] = process.argv.slice(2)
  const core = new Hypercore('./copy', key, { valueEncoding: 'utf-8' })
  await core.ready()
  const stream = core.replicate(true)
  const socket = connect(Number(port), '127.0.0.1')
  stream.pipe(socket).pipe(stream)
  const found = [await core.get(0), await core.get(1)]
  stream.destroy()
  socket.destroy()
  await core.close()
  const again = new Hypercore('./copy', { valueEncoding: 'utf-8' })
  found.push(await again.get(1, { wait: false }))
  await again.close()
  console.log(JSON.stringify(found))
`

/** How programs are run, by what runs them. */
const RUNTIMES = {
  Node: ['node'],
  Deno: [program('deno'), 'run', '--allow-all', '--no-lock', '--node-modules-dir=manual'],
  Bun: [program('bun'), 'run']
}

test('the tarball works in Node, Deno and Bun, and in applications of every bundler', async (t) => {
  const folder = await installTarball(t)

  writeFileSync(join(folder, 'program.mjs'), PROGRAM)
  writeFileSync(join(folder, 'reader.mjs'), READER)
  for (const [name, [command, ...args]] of Object.entries(RUNTIMES)) {
    await t.test(`in ${name}`, async (t) => {
      const { writer, key } = await startWriter(t, [], ['over', 'TCP'])
      const { port } = await writer.ask('listen')
      const start = async (file, ...more) => (await run(command, [...args, file, ...more], { cwd: folder, capture: true })).trim()
      assert.equal(await start('program.mjs'), 'world')
      assert.deepEqual(JSON.parse(await start('reader.mjs', key, String(port))), ['over', 'TCP', 'TCP'])
      rmSync(join(folder, 'copy'), { recursive: true })
    })
  }

  mkdirSync(join(folder, 'src'))
  writeFileSync(join(folder, 'src', 'main.js'), PAGE)
  writeFileSync(join(folder, 'src', 'worker.js'), WORKER_PAGE)
  writeFileSync(join(folder, 'index.html'), page('<script type="module" src="/src/main.js"></script>'))
  writeFileSync(join(folder, 'worker.html'), page('<script type="module" src="/src/worker.js"></script>'))
  const { bootstrap } = await startTestnet(t)
  const relay = await startDemoRelay(t, bootstrap)
  const writer = await startWriter(t, bootstrap, ['from Node', 'over the relay'])
  await writer.announce()
  const context = await startBrowser(t)

  for (const [name, { make, complaints = [] }] of Object.entries(APPLICATIONS)) {
    await t.test(`${name}, in Chromium, with a peer in Node`, async (t) => {
      const server = await serveStatic(await make(folder))
      defer(t, () => server.close())
      const { page, problems } = await openPage(context, server.url)
      page.setDefaultTimeout(PATIENCE_MS)
      await page.waitForFunction(() => window.loaded)
      const blocks = await page.evaluate(([key, relay]) => window.open(key, relay), [writer.key, relay.url])
      assert.deepEqual(blocks, ['from Node', 'over the relay'])

      await page.goto(`${server.url}/worker.html`)
      await page.waitForFunction(() => window.loaded)
      assert.deepEqual(await page.evaluate(() => window.open()), [2, 'a worker'])
      assert.deepEqual(problems.filter((problem) => !complaints.some((known) => known.test(problem))), [])
      await page.close()
    })
  }
})

/** How an application is made of the two pages; returns what a server has to show. */
const APPLICATIONS = {
  'a Vite application': {
    async make (folder) {
      writeFileSync(join(folder, 'vite.config.js'), "export default { build: { outDir: 'vite', rollupOptions: { input: ['index.html', 'worker.html'] } } }")
      await run('node', [join(root, 'node_modules', 'vite', 'bin', 'vite.js'), 'build', '--logLevel', 'error'], { cwd: folder, capture: true })
      return { '/': join(folder, 'vite') }
    }
  },
  'a webpack application': {
    async make (folder) {
      const { default: webpack } = await import('webpack')
      const entry = { main: './src/main.js', worker: './src/worker.js' }
      const stats = await new Promise((resolve, reject) => {
        webpack({ mode: 'production', context: folder, entry, output: { path: join(folder, 'webpack') } }, (error, stats) => { error ? reject(error) : resolve(stats) })
      })
      assert.deepEqual(stats.toJson({ all: false, errors: true }).errors, [])
      return shown(join(folder, 'webpack'), 'main.js', 'worker.js')
    }
  },
  'an esbuild application': {
    // It leaves the file of the engine behind, and the package notices.
    complaints: [/404/],
    async make (folder) {
      const { build } = await import('esbuild')
      const entryPoints = { main: 'src/main.js', worker: 'src/worker.js', 'worker-host': 'hypertab/worker-host' }
      await build({ absWorkingDir: folder, entryPoints, bundle: true, format: 'esm', outdir: 'esbuild', logLevel: 'error' })
      return shown(join(folder, 'esbuild'), 'main.js', 'worker.js')
    }
  },
  'a page of plain modules': {
    async make (folder) {
      const imports = Object.fromEntries(['hypercore', 'hyperswarm', 'worker'].map((name) => [`hypertab/${name}`, `/node_modules/hypertab/dist/browser/${name}.js`]))
      const map = `<script type="importmap">${JSON.stringify({ imports })}</script>`
      return {
        ...shown(folder, 'src/main.js', 'src/worker.js', map),
        '/node_modules/': join(folder, 'node_modules')
      }
    }
  }
}

/** Two pages, each with a script of a folder. */
function shown (folder, main, worker, head = '') {
  const html = (script) => ({ type: 'text/html; charset=utf-8', body: page(`${head}<script type="module" src="/built/${script}"></script>`) })
  return { '/': html(main), '/worker.html': html(worker), '/built/': folder }
}

function page (scripts) {
  return `<!doctype html><link rel=icon href=data:,>${scripts}`
}

/** A program that came with the packages of the repository. */
function program (name) {
  return join(root, 'node_modules', '.bin', name)
}
