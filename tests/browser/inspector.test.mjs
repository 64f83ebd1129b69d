// The panel of hypertab/inspector beside a store that downloads from a peer in Node: what it says, how it looks, who can use it.

import assert from 'node:assert/strict'
import test from 'node:test'

import { startTestnet } from '../interop/support/testnet.mjs'
import { checkAccess } from './support/access.mjs'
import { openPage, screenshot, servePackage, startBrowser } from './support/browser.mjs'
import { lines, PATIENCE_MS, startDemoRelay, startWriter } from './support/demo.mjs'

test('cores, blocks, peers, paths, traffic and storage are told, and nothing is changed', async (t) => {
  const { bootstrap } = await startTestnet(t)
  const relay = await startDemoRelay(t, bootstrap)
  const writer = await startWriter(t, bootstrap, lines(200))
  await writer.announce()
  const { page, problems } = await open(t)
  page.setDefaultTimeout(PATIENCE_MS)

  await page.evaluate(async ([key, relay]) => {
    const { Corestore, Hyperswarm } = await import('/hypertab/browser/index.js')
    const store = globalThis.store = new Corestore('inspected')
    const swarm = globalThis.swarm = new Hyperswarm({ relay })
    swarm.on('connection', (connection) => store.replicate(connection))
    globalThis.theirs = store.get({ key })
    globalThis.ours = store.get({ name: 'ours' })
    await ours.append(['one', 'two', 'three'])
    await theirs.ready()
    swarm.join(theirs.discoveryKey, { server: false })
    await Promise.all(Array.from({ length: 50 }, (_, i) => theirs.get(i)))
    Object.assign(document.querySelector('hypertab-inspector'), { store, swarm })
  }, [writer.key, relay.url])
  const panel = page.locator('hypertab-inspector')
  const row = panel.locator('details', { hasText: '50 of 200 blocks' })
  await row.waitFor()
  assert.match(await row.locator('summary').textContent(), /^[a-z1-9]{6}…[a-z1-9]{6}50 of 200 blocks, [\d.]+ kB, 1 peer$/)
  assert.equal(await row.locator('svg').getAttribute('aria-label'), '50 of 200 blocks are here')
  assert.equal(await panel.locator('details', { hasText: '3 of 3 blocks, 11 B, 0 peers' }).count(), 1)
  await row.locator('summary').click()
  const { Size, ...shown } = await figures(row)
  assert.deepEqual(shown, { Held: '50', Missing: '150', 'Asked for': '0', 'Reads that wait': '0', Sessions: '1', Use: 'downloading' })
  assert.match(Size, /^[\d.]+ kB$/)
  assert.match(await row.locator('tbody tr').textContent(), /relay2000$/)
  assert.equal(await panel.locator('[part=network-state]').textContent(), new URL(relay.url).host)
  assert.match(await panel.locator('[part=connections] tr').textContent(), /^[a-z1-9]{6}…[a-z1-9]{6}relay \([a-z ]+\)by us[\d.]+ k?B[\d.]+ k?B↓ [\d.]+ k?B\/s ↑ [\d.]+ k?B\/s$/)
  assert.match(await panel.locator('[part=storage-used]').textContent(), /^[\d.]+ [kMG]?B$/)

  // What a person opened stays open while figures change.
  await page.evaluate(() => theirs.download({ start: 0, end: 200 }).done())
  await panel.locator('details[open]', { hasText: '200 of 200 blocks' }).waitFor()
  assert.deepEqual(await page.evaluate(() => [theirs.length, ours.length, theirs.closed, store.sessions.list().length]), [200, 3, false, 2])

  for (const scheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme: scheme })
    await checkAccess(page, `inspector, ${scheme}`)
    await screenshot(page, `inspector-${scheme}`)
  }
  await page.setViewportSize({ width: 360, height: 800 })
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'a narrow page does not scroll sideways')
  await checkAccess(page, 'inspector, narrow')
  await screenshot(page, 'inspector-narrow')

  await page.evaluate(async () => {
    await swarm.destroy()
    await store.close()
  })
  await panel.getByText('No core is open.').waitFor()
  await panel.getByText('Nobody is connected.').waitFor()
  assert.equal(await panel.locator('[part=network-state]').textContent(), 'closed')
  assert.deepEqual(problems, [])
})

test('it looks only while it is on the page, and reads wait where they wait', async (t) => {
  const { page, problems } = await open(t)

  const found = await page.evaluate(async () => {
    const { Hypercore, memory } = await import('/hypertab/browser/index.js')
    const { HypertabInspector } = await import('/hypertab/browser/inspector.js')
    const panel = document.querySelector('hypertab-inspector')
    const core = new Hypercore(memory(), new Uint8Array(32).fill(8))
    await core.ready()
    const waiting = core.get(3)
    waiting.catch(() => {})
    panel.cores = [core]
    const text = () => panel.shadowRoot.querySelector('[part=waiting]').textContent
    const during = text()
    panel.remove()
    await core.close()
    await new Promise((resolve) => setTimeout(resolve, 300))
    const after = panel.shadowRoot.querySelectorAll('details').length
    document.body.append(panel)
    return { during, after, again: panel.shadowRoot.querySelectorAll('details').length, isOurs: panel instanceof HypertabInspector }
  })

  assert.deepEqual(found, { during: '1', after: 1, again: 0, isOurs: true })
  assert.deepEqual(problems, [])
})

async function open (t) {
  const body = `<!doctype html><html lang="en"><title>Inspector</title><link rel=icon href=data:,>
    <meta name=viewport content="width=device-width"><meta name=color-scheme content="light dark">
    <main><h1>Inspector</h1><h2>Panel</h2><hypertab-inspector interval="100"></hypertab-inspector></main>
    <script type=module src="/hypertab/browser/inspector.js"></script>`
  const { url } = await servePackage(t, { '/': { type: 'text/html; charset=utf-8', body } })
  const opened = await openPage(await startBrowser(t), url)
  await opened.page.waitForFunction(() => customElements.get('hypertab-inspector'))
  return opened
}

async function figures (part) {
  const [names, values] = await Promise.all([part.locator('dt').allTextContents(), part.locator('dd').allTextContents()])
  return Object.fromEntries(names.map((name, at) => [name, values[at]]))
}

test('what is set on the element before it is known counts', async (t) => {
  const { url } = await servePackage(t, { '/late': { type: 'text/html; charset=utf-8', body: '<!doctype html><title>late</title><link rel=icon href=data:,><hypertab-inspector></hypertab-inspector>' } })
  const { page, problems } = await openPage(await startBrowser(t), `${url}/late`)

  await page.evaluate(async () => {
    const { Hypercore, memory } = await import('/hypertab/browser/index.js')
    const core = new Hypercore(memory())
    await core.append(['one', 'two'])
    document.querySelector('hypertab-inspector').cores = [core]
    await import('/hypertab/browser/inspector.js')
  })
  await page.locator('hypertab-inspector').locator('details', { hasText: '2 of 2 blocks' }).waitFor()
  assert.deepEqual(problems, [])
})
