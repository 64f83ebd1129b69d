// Drives on the demo page: with an unmodified Hyperdrive in Node on the other side, both ways.

import assert from 'node:assert/strict'
import test from 'node:test'

import Corestore from 'corestore'
import Hyperdrive from 'hyperdrive'

import { defer } from '../interop/support/cleanup.mjs'
import { temporaryFolder } from '../interop/support/folder.mjs'
import { createSwarm } from '../interop/support/testnet.mjs'
import { pictures, startDemo, startPage } from './support/demo.mjs'
import { created, openWork, updated, waitForWork } from './support/works.mjs'

const README = '# Birds\n\nCounted by hand.\n'

test('a drive of a Node peer: folders at once, files when they are looked at, older versions, live changes, and all of it offline', async (t) => {
  const { bootstrap, relay, server, context, page, problems } = await startDemo(t)
  const { drive } = await startDrive(t, bootstrap)
  const large = Buffer.alloc(3_000_000, 'large ')
  await drive.put('/README.md', Buffer.from('# Birds\n'))
  await drive.put('/README.md', Buffer.from(README))
  await drive.put('/pictures/one.svg', Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 40 30"><rect width="40" height="30" fill="#2a8"/></svg>'))
  await drive.put('/pictures/deep/two.txt', Buffer.from('two'))
  await drive.put('/large.bin', large)

  await openWork(page, 'drive', `hyper://${drive.id}/`)
  await waitForWork(page, 'drive', 'live')
  await page.locator('[data-testid=file][data-name="large.bin"][data-here=false]').waitFor()
  assert.deepEqual(await page.getByTestId('files').locator('a').evaluateAll((links) => links.map(({ dataset }) => dataset.name)), ['pictures', 'large.bin', 'README.md'])
  await pictures(page, 'drive')

  await page.locator('[data-name="README.md"]').click()
  await page.getByTestId('preview-text').waitFor()
  assert.equal(await page.getByTestId('preview-text').textContent(), README)
  assert.equal(await page.getByTestId('change').count(), 2)
  await page.getByTestId('change').nth(1).click()
  await page.getByTestId('old-version').waitFor()
  await page.getByTestId('preview-text').getByText('# Birds', { exact: true }).waitFor()
  assert.equal(await page.getByTestId('preview-text').textContent(), '# Birds\n')
  await pictures(page, 'drive-old-version')
  await page.getByTestId('to-newest').click()

  await page.getByTestId('crumbs').getByText('All files').click()
  await page.locator('[data-name=pictures]').click()
  await page.locator('[data-name="one.svg"]').click()
  await page.waitForFunction(() => document.querySelector('[data-testid=preview-image]')?.naturalWidth > 0)
  await page.locator('[data-name="one.svg"][data-here=true]').waitFor()
  await pictures(page, 'drive-image')

  await drive.put('/pictures/three.txt', Buffer.from('three'))
  await page.locator('[data-name="three.txt"]').waitFor()

  await page.getByTestId('crumbs').getByText('All files').click()
  await page.locator('[data-name="large.bin"]').click()
  const download = page.waitForEvent('download')
  await page.getByTestId('file-save').click()
  const chunks = []
  for await (const chunk of await (await download).createReadStream()) chunks.push(chunk)
  assert.deepEqual(Buffer.concat(chunks), large)
  await page.getByTestId('crumbs').getByText('All files').click()
  await page.locator('[data-name="large.bin"][data-here=true]').waitFor()
  assert.deepEqual(problems, [])

  await page.evaluate(async () => { await navigator.serviceWorker.ready })
  await drive.close()
  await relay.process.kill()
  await context.setOffline(true)
  await server.close()
  await page.reload()
  await waitForWork(page, 'drive', 'offline')
  await page.locator('[data-name="README.md"]').click()
  await page.getByTestId('preview-text').waitFor()
  assert.equal(await page.getByTestId('preview-text').textContent(), README)
  await page.getByTestId('crumbs').getByText('All files').click()
  await page.locator('[data-name=pictures]').click()
  await page.locator('[data-name="three.txt"]').click()
  await page.locator('[data-testid=file-pane][data-state=waiting]').waitFor()
  assert.match(await page.getByTestId('file-words').textContent(), /not on this device, and nobody/)
  await pictures(page, 'drive-offline')
})

test('a drive made in the tab, files and a folder in it, is read and followed by a Node peer', async (t) => {
  const { bootstrap, page, problems } = await startDemo(t)
  await page.getByTestId('tab-drive').click()
  await pictures(page, 'drives')
  const id = await created(page, 'drive', 'Field trip')
  await waitForWork(page, 'drive', 'announced')
  const bytes = Buffer.from(Array.from({ length: 200_000 }, (_, index) => index % 251))
  await page.getByTestId('add-files').setInputFiles([
    { name: 'notes.txt', mimeType: 'text/plain', buffer: Buffer.from('rain') },
    { name: 'bytes.bin', mimeType: 'application/octet-stream', buffer: bytes }
  ])
  await page.locator('[data-name="notes.txt"]').waitFor()
  await dropFile(page, 'dropped.md', '*dropped*')
  await page.locator('[data-name="dropped.md"]').waitFor()
  await pictures(page, 'drive-own')

  const { drive, swarm } = await startDrive(t, bootstrap, id)
  assert.deepEqual(await drive.get('/bytes.bin'), bytes)
  assert.equal(String(await drive.get('/notes.txt')), 'rain')
  assert.equal(String(await drive.get('/dropped.md')), '*dropped*')
  await waitForWork(page, 'drive', 'serving')

  await page.locator('[data-name="notes.txt"]').click()
  await page.getByTestId('file-remove').click()
  await page.locator('[data-name="notes.txt"]').waitFor({ state: 'detached' })
  while (await drive.exists('/notes.txt')) await updated(drive)
  assert.equal(String(await drive.checkout(drive.version - 1).get('/notes.txt')), 'rain')
  assert.ok(swarm.connections.size > 0)

  await page.reload()
  await page.locator('[data-name="dropped.md"]').click()
  await page.getByTestId('preview-text').getByText('*dropped*').waitFor()
  await page.getByTestId('tab-drive').click()
  assert.match(await page.getByTestId('known-drive').textContent(), /Field trip.*versions.*yours/)
  await page.getByTestId('known-drive-remove').click()
  await page.getByTestId('confirm-yes').click()
  await page.getByTestId('known-drives-empty').waitFor()
  assert.deepEqual(problems, [])
})

test('a drive with a wrong key, one of a log, and one that nobody has', async (t) => {
  const { page } = await startPage(t, { relayUrl: 'ws://127.0.0.1:9' })
  await page.getByTestId('tab-drive').click()
  for (const [text, words] of [['', /Paste the key/], ['hyper://abc/x', /has 3 characters/], [`hyper://${'y'.repeat(52)}+x/`, /version or path/]]) {
    await openWork(page, 'drive', text)
    assert.match(await page.getByTestId('drive-key-help').textContent(), words)
  }
  await pictures(page, 'drive-wrong-key')
  await openWork(page, 'drive', 'ab'.repeat(32))
  await waitForWork(page, 'drive', 'relay-unreachable')
  assert.match(await page.getByTestId('files-note').textContent(), /as soon as somebody/)
  await pictures(page, 'drive-unreachable')
})

/** Starts an upstream drive in a swarm: a new one, or one to read. */
async function startDrive (t, bootstrap, key = null) {
  const store = new Corestore(temporaryFolder(t))
  defer(t, () => store.close())
  const drive = new Hyperdrive(store.session(), key)
  await drive.ready()
  const swarm = createSwarm(t, { bootstrap })
  swarm.on('connection', (connection) => {
    connection.on('error', () => {})
    store.replicate(connection)
  })
  const done = drive.findingPeers()
  await swarm.join(drive.discoveryKey).flushed()
  swarm.flush().then(done, done)
  if (key) while (drive.version < 2) await updated(drive)
  return { drive, swarm }
}

async function dropFile (page, name, text) {
  const transfer = await page.evaluateHandle(([name, text]) => {
    const transfer = new DataTransfer()
    transfer.items.add(new File([text], name))
    return transfer
  }, [name, text])
  for (const event of ['dragover', 'drop']) await page.dispatchEvent('#drive', event, { dataTransfer: transfer })
}
