// The suite of all storage backends on a file in a folder, as Node has it. Native backends run it in Rust, those of browsers in Chromium.

import assert from 'node:assert/strict'
import { closeSync, existsSync, fstatSync, fsyncSync, openSync, readFileSync, readSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { pathToFileURL } from 'node:url'

import { storageSuite } from '../../scripts/lib/cargo.mjs'
import { temporaryFolder } from './support/folder.mjs'
import { randomOf, tornFile } from './support/torn-file.mjs'

const folder = await storageSuite()
const engine = await import(pathToFileURL(join(folder, 'hypertab.js')).href)
engine.initSync({ module: readFileSync(join(folder, 'hypertab_bg.wasm')) })

test('a file in a folder behaves like an ordered map, with crashes', async (t) => {
  for (let seed = 1; seed <= 5; seed++) await engine.runConformance(place(t, seed), 'random', seed, 400)
})

test('a file in a folder passes every case', async (t) => {
  await engine.runConformance(place(t, 1), 'cases', 0, 0)
})

test('a file that another process claimed is written by that one only', async (t) => {
  await engine.runConformance(place(t, 1), 'fence', 0, 0)
})

test('a commit without room fails, and what was there stays', async (t) => {
  assert.equal(await engine.runConformance(place(t, 1), 'full', 0, 0), true)
})

test('a sequence of commits is found again', async (t) => {
  const here = place(t, 1)
  await engine.runConformance(here, 'write', 9, 0)
  assert.equal(await engine.runConformance(here, 'check', 9, 40), 40)
  await assert.rejects(engine.runConformance(here, 'check', 7, 1), /not the state/, 'the suite notices what is another state')
})

function place (t, seed) {
  const path = join(temporaryFolder(t), 'store')
  const random = randomOf(seed)
  const faults = { left: null, end: null }
  return {
    database: undefined,
    isShared: true,
    async openFile () {
      faults.left = null
      return tornFile(openFile(path), faults)
    },
    tear () { faults.left = random(400_000) },
    async moment () {},
    async setFull (isFull) {
      const descriptor = openSync(path, 'r')
      faults.end = isFull ? fstatSync(descriptor).size : null
      closeSync(descriptor)
      return true
    },
    told: (answered) => answered < 40
  }
}

function openFile (path) {
  const descriptor = openSync(path, existsSync(path) ? 'r+' : 'w+', 0o600)
  return {
    read (buffer, offset) {
      let count = 0
      for (let read = -1; read !== 0 && count < buffer.byteLength; count += read) {
        read = readSync(descriptor, buffer, count, buffer.byteLength - count, offset + count)
      }
      return count
    },
    write (bytes, offset) {
      for (let written = 0; written < bytes.byteLength;) {
        written += writeSync(descriptor, bytes, written, bytes.byteLength - written, offset + written)
      }
    },
    sync: () => { fsyncSync(descriptor) },
    close: () => { closeSync(descriptor) }
  }
}
