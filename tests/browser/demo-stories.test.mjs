// What the page is for: a tab and an unmodified Node peer replicate a log through the relay, both ways.

import assert from 'node:assert/strict'
import test from 'node:test'

import crypto from 'hypercore-crypto'

import { startUpstream } from '../interop/support/dht-node.mjs'
import {
  appendLine, createLog, hexOf, lines, openLog, pictures, readBlocks, startDemo, startReader, startWriter, waitForState, waitForText
} from './support/demo.mjs'

test('a pasted key becomes a verified copy, which reads with the network cut', async (t) => {
  const { bootstrap, relay, server, context, page, problems } = await startDemo(t)
  const written = lines(230)
  const { writer, key, announce } = await startWriter(t, bootstrap, written)
  await announce()
  await pictures(page, 'first-view')

  await openLog(page, key)
  await waitForState(page, 'complete')
  await waitForText(page, 'held', '230')
  await pictures(page, 'complete')
  assert.deepEqual(await readBlocks(page, 230), written)

  await writer.ask('append', { blocks: ['one more'] })
  await waitForText(page, 'held', '231')
  assert.deepEqual(problems, [])

  await page.evaluate(async () => { await navigator.serviceWorker.ready })
  await writer.kill()
  await relay.process.kill()
  await context.setOffline(true)
  await server.close()
  await page.reload()
  await waitForState(page, 'offline')
  await waitForText(page, 'held', '231')
  assert.deepEqual(await readBlocks(page, 231), [...written, 'one more'])
  await pictures(page, 'offline')
})

test('a log made in the tab is found, read and followed by a Node peer', async (t) => {
  const { bootstrap, page, problems } = await startDemo(t)
  const id = await createLog(page, 'Field notes')
  await waitForState(page, 'announced')
  await appendLine(page, 'first line')
  await appendLine(page, 'second line')
  await waitForText(page, 'length', '2')
  await pictures(page, 'own-log')

  const reader = await startReader(t, hexOf(id))
  await reader.ask('swarm', { bootstrap })
  await reader.ask('download', { end: 2 })

  assert.equal(await textOf(reader, 0), 'first line')
  assert.equal(await textOf(reader, 1), 'second line')
  await waitForState(page, 'serving')
  await pictures(page, 'own-log-read')

  await appendLine(page, 'while you read')
  await reader.ask('download', { end: 3 })
  assert.equal(await textOf(reader, 2), 'while you read')
  assert.deepEqual(problems, [])

  const dht = await startUpstream(t, bootstrap)
  const announced = await announcersOf(dht, hexOf(id))
  await page.reload()
  await waitForText(page, 'held', '3')
  await appendLine(page, 'after a reload')
  await waitForText(page, 'length', '4')
  await reader.ask('download', { end: 4 }, 60_000)
  assert.equal(await textOf(reader, 3), 'after a reload')
  assert.deepEqual(await announcersOf(dht, hexOf(id)), announced, 'nobody is announced who is gone')
})

/** The keys that are announced for a log. */
async function announcersOf (dht, key) {
  const keys = new Set()
  for await (const { peers } of dht.lookup(crypto.discoveryKey(Buffer.from(key, 'hex')))) {
    for (const { publicKey } of peers) keys.add(publicKey.toString('hex'))
  }
  return [...keys].sort()
}

test('blocks that are no text, a file, and a log of one’s own in the list', async (t) => {
  const { page, problems } = await startDemo(t)
  await createLog(page, 'Files')
  const bytes = Buffer.from(Array.from({ length: 150_000 }, (_, index) => index % 251))

  await page.getByTestId('append-file').setInputFiles({ name: 'bytes.bin', mimeType: 'application/octet-stream', buffer: bytes })
  await waitForText(page, 'length', '3')
  const [first] = await readBlocks(page, 1)
  assert.match(first, /^000000 {2}00 01 02 03/)
  await pictures(page, 'binary')

  await page.getByTestId('back').click()
  // The list is there before the log has closed and noted its length.
  await page.getByTestId('known-log').filter({ hasText: /Files.*3 blocks.*yours/ }).waitFor()
  await pictures(page, 'known-logs')
  await page.getByTestId('known-remove').click()
  await pictures(page, 'remove')
  await page.getByTestId('confirm-yes').click()
  await page.getByTestId('known-empty').waitFor()
  assert.deepEqual(await page.evaluate(async () => (await indexedDB.databases()).map(({ name }) => name)), [])
  assert.deepEqual(problems, [])
})

async function textOf (reader, index) {
  return Buffer.from((await reader.ask('get', { index })).hex, 'hex').toString()
}
