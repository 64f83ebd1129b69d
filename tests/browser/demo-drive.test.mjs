// Drives on the demo page: with an unmodified Hyperdrive in Node on the other side, both ways.

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'

import { temporaryFolder } from '../interop/support/folder.mjs'
import { PATIENCE_MS, openLog, pictures, startDemo, startPage, startWriter, waitForState } from './support/demo.mjs'
import { created, openWork, startDrive, updated, waitForWork } from './support/works.mjs'

// More than the pane shows at once.
const README = `# Birds\n\nCounted by hand.\n\n${'- one more\n'.repeat(40)}`

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
  // Whoever comes back from another part of the page finds it as it was.
  await page.getByTestId('tab-network').click()
  await page.goBack()
  await page.locator('[data-testid=file][data-name="large.bin"]').waitFor()
  await page.getByTestId('change').first().waitFor()

  await page.locator('[data-name="README.md"]').click()
  await page.getByTestId('preview-markdown').getByRole('heading', { name: 'Birds' }).waitFor()
  assert.match(await page.getByTestId('preview-markdown').textContent(), /Counted by hand\./)
  await pictures(page, 'drive-markdown')
  await page.getByTestId('file-source').click()
  assert.equal(await page.getByTestId('preview-text').textContent(), README)
  assert.equal(await page.getByTestId('change').count(), 2)
  await page.getByTestId('change').nth(1).click()
  await page.getByTestId('old-version').waitFor()
  await page.waitForFunction(() => document.querySelector('[data-testid=preview-markdown]')?.textContent === 'Birds')
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
  await page.getByTestId('preview-markdown').waitFor()
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
  await page.getByTestId('preview-markdown').locator('em').getByText('dropped').waitFor()
  await page.getByTestId('tab-drive').click()
  assert.match(await page.getByTestId('known-drive').textContent(), /Field trip.*versions.*yours/)
  await page.getByTestId('known-drive-remove').click()
  await page.getByTestId('confirm-yes').click()
  await page.getByTestId('known-drives-empty').waitFor()
  assert.deepEqual(problems, [])
})

test('a key of a log is read as one after it was taken for a drive, and that of a drive the other way round', async (t) => {
  const { bootstrap, page, problems } = await startDemo(t)
  const { key, announce } = await startWriter(t, bootstrap, ['one', 'two'])
  await announce()
  const { drive } = await startDrive(t, bootstrap)
  await drive.put('/README.md', Buffer.from(README))

  await openWork(page, 'drive', key)
  await waitForWork(page, 'drive', 'wrong-kind')
  await page.getByText('Open it as a log').click()
  await waitForState(page, 'complete')
  assert.equal(await page.getByTestId('length').textContent(), '2')

  await page.getByTestId('tab-logs').click()
  await openLog(page, drive.id)
  await waitForState(page, 'complete')
  await openWork(page, 'drive', drive.id)
  await waitForWork(page, 'drive', 'live')
  await page.locator('[data-name="README.md"]').waitFor()
  assert.deepEqual(problems, [])
})

test('a drive with a wrong key, and one that nobody has', async (t) => {
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

test('versions on a slider, and how two of them differ: lines of a text, pictures, and paths of a folder', async (t) => {
  const { bootstrap, page, problems } = await startDemo(t)
  const { drive } = await startDrive(t, bootstrap)
  const lines = Array.from({ length: 40 }, (_, index) => `line ${index}`)
  await drive.put('/list.txt', Buffer.from(lines.join('\n')))
  await drive.put('/gone.txt', Buffer.from('gone'))
  await drive.put('/one.svg', Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="40" height="30"><rect width="40" height="30" fill="#2a8"/></svg>'))
  await drive.put('/list.txt', Buffer.from(lines.with(20, 'another line').join('\n')))
  await drive.del('/gone.txt')
  await drive.put('/one.svg', Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="40" height="30"><rect width="40" height="30" fill="#c52"/></svg>'))
  await drive.put('/new.txt', Buffer.from('new'))
  await openWork(page, 'drive', drive.id)
  await waitForWork(page, 'drive', 'live')
  await page.getByTestId('compare-run').waitFor()

  await page.getByTestId('compare-older').selectOption('4')
  await page.getByTestId('compare-run').click()
  await page.getByTestId('file-difference').first().waitFor()
  assert.deepEqual((await page.getByTestId('file-difference').allTextContents()).map((words) => words.replace(/ [\d.].*/, '')).sort(), ['+/new.txt', '~/list.txt', '~/one.svg', '−/gone.txt'])
  assert.match(await page.getByTestId('compare-help').textContent(), /^4 files differ/)
  await pictures(page, 'drive-compare')

  // The slider goes to the oldest, one step on, and to the newest, from the keyboard.
  await page.locator('[data-name="list.txt"]').click()
  await page.getByTestId('preview-text').waitFor()
  await page.getByTestId('version-slider').focus()
  await page.keyboard.press('Home')
  await page.getByTestId('old-version').getByText('version 2').waitFor()
  await page.getByTestId('preview-text').getByText('line 20').waitFor()
  assert.equal(await page.getByTestId('preview-text').textContent(), lines.join('\n'))
  assert.equal(await page.evaluate(() => document.activeElement?.id), 'version-slider')
  await page.keyboard.press('End')
  await page.getByTestId('old-version').waitFor({ state: 'hidden' })
  await page.getByTestId('preview-text').getByText('another line').waitFor()

  await page.getByTestId('compare-run').click()
  await page.getByTestId('diff-line').first().waitFor()
  assert.deepEqual(await page.getByTestId('diff-line').allTextContents(), [
    ...lines.slice(17, 20).map((line) => `  ${line}\n`), '− line 20\n', '+ another line\n', ...lines.slice(21, 24).map((line) => `  ${line}\n`)
  ])
  assert.match(await page.getByTestId('compare-help').textContent(), /1 line added, 1 removed/)
  await pictures(page, 'drive-compare-text')

  await page.locator('[data-name="one.svg"]').click()
  await page.waitForFunction(() => document.querySelector('[data-testid=file-name]').textContent === 'one.svg' && document.getElementById('compare-older').options.length === 2)
  await page.getByTestId('compare-run').click()
  await page.waitForFunction(() => [...document.querySelectorAll('[data-testid=compared] img')].filter((image) => image.naturalWidth === 40).length === 2)
  assert.deepEqual(problems, [])
})

test('a large file goes to the disk as it comes, whoever leaves meanwhile; a code for its link; a PDF is shown', async (t) => {
  const { bootstrap, context, page, problems } = await startDemo(t)
  const { drive, swarm } = await startDrive(t, bootstrap)
  const large = Buffer.from(Uint8Array.from({ length: 9_000_000 }, (_, index) => index * 7 + (index >> 9)))
  await drive.put('/large.bin', large)
  await drive.put('/paper.pdf', pdf('Counted by hand'))

  await openWork(page, 'drive', drive.id)
  await page.locator('[data-name="large.bin"]').click()
  await page.getByTestId('file-qr').click()
  assert.equal(await page.getByTestId('qr-link').textContent(), page.url())
  await page.keyboard.press('Escape')
  await page.getByTestId('qr').waitFor({ state: 'hidden' })

  // A dialog of the browser cannot be clicked here: a real file of the browser's own file system stands for the chosen one.
  await page.evaluate(() => {
    window.showSaveFilePicker = async ({ suggestedName }) => {
      if (window.isUnwilling) throw new DOMException('The user aborted a request.', 'AbortError')
      return await (await navigator.storage.getDirectory()).getFileHandle(suggestedName, { create: true })
    }
    window.isUnwilling = true
  })
  await page.getByTestId('file-save').click()
  await page.locator('[data-testid=file-pane][data-state=idle]').waitFor()
  await page.evaluate(() => { window.isUnwilling = false })
  await page.evaluate(() => {
    window.said = []
    new MutationObserver(() => window.said.push(document.querySelector('[data-testid=file-words]').textContent)).observe(document.querySelector('[data-testid=file-words]'), { childList: true, characterData: true, subtree: true })
  })
  await page.getByTestId('file-save').click()
  // The only one who has it leaves in the middle, and comes back.
  await page.waitForFunction(() => window.said.some((words) => /^Saving .* of 9.00 MB/.test(words)))
  await swarm.suspend()
  await page.locator('[data-testid=file-pane]:is([data-state=stalled], [data-state=waiting], [data-state=done])').waitFor()
  await swarm.resume()
  await page.locator('[data-testid=file-pane][data-state=done]').waitFor({ timeout: PATIENCE_MS * 2 })
  assert.equal(await page.getByTestId('file-words').textContent(), 'Saved, 9.00 MB.')
  const saved = await page.evaluate(async () => {
    const file = await (await (await navigator.storage.getDirectory()).getFileHandle('large.bin')).getFile()
    return Array.from(new Uint8Array(await crypto.subtle.digest('SHA-256', await file.arrayBuffer())), (byte) => byte.toString(16).padStart(2, '0')).join('')
  })
  assert.equal(saved, createHash('sha256').update(large).digest('hex'))

  await page.locator('[data-name="paper.pdf"]').click()
  if (await page.evaluate(() => navigator.pdfViewerEnabled)) {
    await page.getByTestId('preview-pdf').waitFor()
    assert.match(await page.getByTestId('preview-pdf').getAttribute('src'), /^blob:/)
    await pictures(page, 'drive-pdf')
  } else {
    await page.getByTestId('file-words').getByText('shows no PDF').waitFor()
  }
  await page.evaluate(() => Object.defineProperty(navigator, 'pdfViewerEnabled', { value: false }))
  await page.locator('[data-name="large.bin"]').click()
  await page.locator('[data-name="paper.pdf"]').click()
  await page.getByTestId('file-words').getByText('shows no PDF').waitFor()
  assert.equal(await page.getByTestId('preview-pdf').count(), 0)
  assert.deepEqual(problems, [])
  assert.ok(context)
})

test('a folder with folders in it is dropped from the desktop, and chosen by the folder picker', async (t) => {
  const { context, page, problems } = await startPage(t, { relayUrl: 'ws://127.0.0.1:9' })
  await created(page, 'drive', 'Dropped')
  const folder = join(temporaryFolder(t), 'trip')
  mkdirSync(join(folder, 'deep', 'deeper'), { recursive: true })
  writeFileSync(join(folder, 'a.txt'), 'a')
  writeFileSync(join(folder, 'deep', 'deeper', 'b.txt'), 'b')
  for (let index = 0; index < 120; index++) writeFileSync(join(folder, 'deep', `${index}.txt`), String(index))
  writeFileSync(join(folder, '..', 'beside.txt'), 'beside')

  const session = await context.newCDPSession(page)
  const data = { items: [], files: [folder, join(folder, '..', 'beside.txt')], dragOperationsMask: 1 }
  for (const type of ['dragEnter', 'dragOver', 'drop']) {
    await session.send('Input.dispatchDragEvent', { type, x: 400, y: 400, data })
    if (type === 'dragOver') {
      await page.locator('#drop').waitFor()
      await pictures(page, 'drive-dropping')
    }
  }
  await page.getByTestId('intake-help').getByText('123 files added').waitFor()
  assert.deepEqual(await page.getByTestId('files').locator('a').evaluateAll((links) => links.map(({ dataset }) => dataset.name)), ['trip', 'beside.txt'])
  await page.locator('[data-name=trip]').click()
  await page.locator('[data-name=deep]').click()
  await page.locator('[data-name="119.txt"]').waitFor()
  await page.locator('[data-name=deeper]').click()
  await page.locator('[data-name="b.txt"]').click()
  await page.getByTestId('preview-text').getByText('b', { exact: true }).waitFor()

  await page.getByTestId('crumbs').getByText('All files').click()
  await page.locator('[data-name=trip]').waitFor()
  rmSync(join(folder, 'deep'), { recursive: true })
  await page.getByTestId('add-folder').setInputFiles(folder)
  await page.getByTestId('intake-help').getByText('1 file added').waitFor()
  await page.locator('[data-name=trip]').click()
  await page.locator('[data-name="a.txt"]').click()
  await page.waitForFunction(() => document.querySelectorAll('[data-testid=change]').length === 2)
  assert.deepEqual(problems.filter((problem) => !/ERR_CONNECTION_REFUSED|ERR_UNSAFE_PORT/.test(problem)), [])
})

test('sound plays and is wound on before all of it is here', async (t) => {
  const { bootstrap, page, problems } = await startDemo(t)
  await page.evaluate(async () => { await navigator.serviceWorker.ready })
  const { drive } = await startDrive(t, bootstrap)
  const sound = wav(400)
  await drive.put('/long.wav', sound)
  await openWork(page, 'drive', drive.id)
  await page.locator('[data-name="long.wav"]').click()
  await page.waitForFunction(() => document.querySelector('[data-testid=preview-audio]')?.readyState >= 1)
  assert.equal(await page.getByTestId('preview-audio').evaluate((audio) => audio.duration), 400)
  await pictures(page, 'drive-sound')
  await page.getByTestId('preview-audio').evaluate(async (audio) => {
    const seeked = new Promise((resolve) => audio.addEventListener('seeked', resolve, { once: true }))
    audio.currentTime = 390
    await seeked
    audio.muted = true
    await audio.play()
  })
  await page.waitForFunction(() => document.querySelector('[data-testid=preview-audio]').currentTime > 390.5)

  // What is served is what is in the drive, whatever part is asked for.
  const address = await page.getByTestId('preview-audio').getAttribute('src')
  assert.match(address, new RegExp(`/hyper/${drive.id}\\+2/long\\.wav$`))
  const ask = (range) => page.evaluate(async ([address, range]) => {
    const response = await fetch(address, { headers: range ? { range } : {} })
    return { status: response.status, type: response.headers.get('content-type'), range: response.headers.get('content-range'), bytes: Array.from(new Uint8Array(await response.arrayBuffer())) }
  }, [address, range])
  assert.deepEqual(await ask('bytes=70000-70009'), { status: 206, type: 'audio/wav', range: `bytes 70000-70009/${sound.length}`, bytes: [...sound.subarray(70_000, 70_010)] })
  assert.deepEqual(await ask('bytes=-3'), { status: 206, type: 'audio/wav', range: `bytes ${sound.length - 3}-${sound.length - 1}/${sound.length}`, bytes: [...sound.subarray(-3)] })
  assert.equal((await ask(`bytes=${sound.length}-`)).status, 416)
  // Half of it is still with the other one only.
  await page.getByTestId('crumbs').getByText('All files').click()
  await page.locator('[data-name="long.wav"][data-here=false]').waitFor()
  assert.deepEqual(problems.filter((problem) => !/416/.test(problem)), [])
})

/** A tone of so many seconds, as two channels of 16 bits. */
function wav (seconds) {
  const rate = 44_100
  const bytes = Buffer.alloc(44 + seconds * rate * 4)
  bytes.write('RIFF', 0)
  bytes.writeUInt32LE(bytes.length - 8, 4)
  bytes.write('WAVEfmt ', 8)
  for (const [at, value, width] of [[16, 16, 4], [20, 1, 2], [22, 2, 2], [24, rate, 4], [28, rate * 4, 4], [32, 4, 2], [34, 16, 2]]) bytes.writeUIntLE(value, at, width)
  bytes.write('data', 36)
  bytes.writeUInt32LE(bytes.length - 44, 40)
  const samples = new Int16Array(bytes.buffer, bytes.byteOffset + 44, seconds * rate * 2)
  for (let index = 0; index < samples.length; index++) samples[index] = Math.sin(index / 40) * 8_000
  return bytes
}

/** A page with a line on it. */
function pdf (words) {
  const content = `BT /F1 36 Tf 40 140 Td (${words}) Tj ET`
  const objects = ['<</Type/Catalog/Pages 2 0 R>>', '<</Type/Pages/Kids[3 0 R]/Count 1>>', '<</Type/Page/Parent 2 0 R/MediaBox[0 0 420 200]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>', `<</Length ${content.length}>>stream\n${content}\nendstream`, '<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>']
  let text = '%PDF-1.4\n'
  const places = objects.map((object, index) => {
    const place = text.length
    text += `${index + 1} 0 obj${object}endobj\n`
    return place
  })
  const table = text.length
  return Buffer.from(`${text}xref\n0 6\n0000000000 65535 f \n${places.map((place) => `${String(place).padStart(10, '0')} 00000 n \n`).join('')}trailer<</Size 6/Root 1 0 R>>\nstartxref\n${table}\n%%EOF\n`)
}

async function dropFile (page, name, text) {
  const transfer = await page.evaluateHandle(([name, text]) => {
    const transfer = new DataTransfer()
    transfer.items.add(new File([text], name))
    return transfer
  }, [name, text])
  for (const event of ['dragover', 'drop']) await page.dispatchEvent('#drive', event, { dataTransfer: transfer })
}
