// Everything that a person has, in one file: made on the page of the keys, and taken in by another browser.

import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'

import { temporaryFolder } from '../interop/support/folder.mjs'
import { pictures, startPage } from './support/demo.mjs'
import { created } from './support/works.mjs'

const RELAY = 'ws://127.0.0.1:9'

test('a backup has the key, drives and tables: another browser reads and writes them with no network', async (t) => {
  const { page, problems } = await startPage(t, { relayUrl: RELAY })
  const table = await created(page, 'table', 'Birds')
  await write(page, 'wren', 'small')
  await page.locator('[data-testid=row][data-key=wren]').waitFor()
  await page.getByTestId('tab-drive').click()
  await created(page, 'drive', 'Papers')
  const large = Buffer.alloc(3 << 20, 'large ')
  const folder = temporaryFolder(t)
  writeFileSync(join(folder, 'large.txt'), large)
  await page.getByTestId('add-files').setInputFiles(join(folder, 'large.txt'))
  await page.locator('[data-name="large.txt"]').waitFor()
  await page.getByTestId('tab-keys').click()
  await page.getByTestId('identity').getByText(/^[a-z0-9]{52}$/).waitFor()
  const identity = await page.getByTestId('identity').textContent()

  // To the disk as it comes, where the browser can.
  await page.evaluate(() => {
    window.saved = []
    window.showSaveFilePicker = async ({ suggestedName }) => ({
      createWritable: async () => ({
        write: async (piece) => { saved.push(piece.byteLength) },
        close: async () => { saved.push(suggestedName) },
        abort: async () => { saved.push('aborted') }
      })
    })
  })
  await page.getByTestId('backup-save').click()
  await page.getByTestId('backup-help').getByText(/^Backed up: [\d.]+ MB/).waitFor()
  const saved = await page.evaluate(() => saved)
  assert.equal(saved.at(-1), 'hypertab-backup.hypertab')
  assert.ok(saved.length > 4 && saved.slice(0, -1).every((length) => length < 2 << 20), JSON.stringify(saved))
  // And in one piece where it cannot.
  await page.evaluate(() => { delete window.showSaveFilePicker })
  const download = page.waitForEvent('download')
  await page.getByTestId('backup-save').click()
  const path = await (await download).path()
  const file = readFileSync(path)
  assert.equal(file.byteLength, saved.slice(0, -1).reduce((sum, length) => sum + length, 0))
  await pictures(page, 'keys-backup')

  const { page: other, problems: others } = await startPage(t, { relayUrl: RELAY })
  await other.getByTestId('tab-keys').click()
  await other.getByTestId('identity').getByText(/^[a-z0-9]{52}$/).waitFor()
  const theirs = await other.getByTestId('identity').textContent()
  const wrong = [
    ['half.hypertab', file.subarray(0, file.byteLength - 1000), /damaged, or not all of it/],
    ['other.json', Buffer.from('{"hypertab":"identity"}\n'), /no backup/]
  ]
  for (const [name, bytes, words] of wrong) {
    writeFileSync(join(folder, name), bytes)
    await other.getByTestId('backup-file').setInputFiles(join(folder, name))
    await other.getByTestId('backup-help').getByText(words).waitFor()
  }
  await pictures(other, 'keys-backup-damaged')
  await other.reload()
  await other.getByTestId('tab-keys').click()
  await other.getByTestId('identity').getByText(theirs, { exact: true }).waitFor()

  await other.getByTestId('backup-file').setInputFiles(path)
  await other.getByTestId('identity').getByText(identity, { exact: true }).waitFor()
  await other.getByTestId('tab-table').click()
  await other.getByTestId('known-table').locator('a').click()
  await other.locator('[data-testid=row][data-key=wren]').waitFor()
  assert.equal(await other.getByTestId('table-key').textContent(), table)
  await other.getByTestId('tab-drive').click()
  await other.getByTestId('known-drive').locator('a').click()
  await other.locator('[data-name="large.txt"]').click()
  await other.getByText('large large large').first().waitFor()
  for (const list of [problems, others]) assert.deepEqual(list.filter((problem) => !/ERR_CONNECTION_REFUSED|ERR_UNSAFE_PORT/.test(problem)), [])
})

async function write (page, key, value) {
  await page.getByTestId('row-key').fill(key)
  await page.getByTestId('row-value').fill(value)
  await page.getByTestId('row-save').click()
}
