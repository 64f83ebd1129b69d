// The packed tarball in a fresh folder: Node by import and require, and a fresh Vite application in Chromium.

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { fileURLToPath } from 'node:url'

import { root, run } from '../../scripts/lib/run.mjs'
import { serveStatic } from '../../scripts/lib/static-server.mjs'
import { defer } from '../interop/support/cleanup.mjs'
import { temporaryFolder } from '../interop/support/folder.mjs'
import { openPage, startBrowser } from './support/browser.mjs'
import { PATIENCE_MS, startDemoRelay, startWriter } from './support/demo.mjs'
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
  for (const [entry, name] of [['hyperblobs', 'Hyperblobs'], ['hyperdrive', 'Hyperdrive'], ['mirror-drive', 'MirrorDrive']]) {
    assert.equal((await import('hypertab/' + entry)).default, everything[name])
    assert.equal(require('hypertab/' + entry), everything[name])
  }
  assert.equal((await import('hypertab/localdrive')).default, require('hypertab/localdrive'))
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

test('the tarball works in Node and in a Vite application', async (t) => {
  const folder = await installTarball(t)

  writeFileSync(join(folder, 'program.mjs'), PROGRAM)
  assert.equal((await run('node', ['program.mjs'], { cwd: folder, capture: true })).trim(), 'world')

  await t.test('in Chromium, with a peer in Node', async (t) => {
    mkdirSync(join(folder, 'src'))
    writeFileSync(join(folder, 'index.html'), '<!doctype html><link rel=icon href=data:,><script type="module" src="/src/main.js"></script>')
    writeFileSync(join(folder, 'src', 'main.js'), PAGE)
    await run('node', [join(root, 'node_modules', 'vite', 'bin', 'vite.js'), 'build', '--logLevel', 'error'], { cwd: folder, capture: true })

    const { bootstrap } = await startTestnet(t)
    const relay = await startDemoRelay(t, bootstrap)
    const writer = await startWriter(t, bootstrap, ['from Node', 'over the relay'])
    await writer.announce()
    const server = await serveStatic({ '/': join(folder, 'dist') })
    defer(t, () => server.close())
    const { page, problems } = await openPage(await startBrowser(t), server.url)
    page.setDefaultTimeout(PATIENCE_MS)
    await page.waitForFunction(() => window.loaded)
    const blocks = await page.evaluate(([key, relay]) => window.open(key, relay), [writer.key, relay.url])
    assert.deepEqual(blocks, ['from Node', 'over the relay'])
    assert.deepEqual(problems, [])
  })
})

/** Packs the package as it would be published, and installs it in a folder of its own without a network. */
async function installTarball (t) {
  const folder = temporaryFolder(t)
  const [{ filename }] = JSON.parse(await run('npm', ['pack', '--json', '--pack-destination', folder], { cwd: join(root, 'wasm'), capture: true }))
  const tarball = `file:${filename}`
  const { dependencies, version } = JSON.parse(readFileSync(join(root, 'wasm', 'package.json'), 'utf8'))
  const integrity = `sha512-${createHash('sha512').update(readFileSync(join(folder, filename))).digest('base64')}`
  const project = { name: 'fresh', version: '1.0.0', private: true, type: 'module', dependencies: { hypertab: tarball } }
  const packages = {
    '': project,
    'node_modules/hypertab': { version, resolved: tarball, integrity, dependencies },
    ...lockedPackages(Object.keys(dependencies))
  }
  writeFileSync(join(folder, 'package.json'), JSON.stringify(project))
  // With versions that this repository has locked, npm takes every package from its cache.
  writeFileSync(join(folder, 'package-lock.json'), JSON.stringify({ ...project, lockfileVersion: 3, requires: true, packages }))
  await run('npm', ['ci', '--offline', '--no-audit', '--no-fund', '--ignore-scripts'], { cwd: folder, capture: true })
  return folder
}

/** What the repository's lock file says of packages and of all that they need. */
function lockedPackages (names) {
  const { packages } = JSON.parse(readFileSync(fileURLToPath(new URL('../../package-lock.json', import.meta.url)), 'utf8'))
  const found = {}
  const visit = (name) => {
    const path = `node_modules/${name}`
    const entry = packages[path]
    if (!entry || found[path]) return
    const { dev, devOptional, ...kept } = entry
    found[path] = kept
    for (const need of Object.keys({ ...entry.dependencies, ...entry.optionalDependencies })) visit(need)
  }
  names.forEach(visit)
  return found
}
