// The relay cannot be pointed at a third party: on a network of its own, with addresses that are not private.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

import { relayProgram } from './support/relay.mjs'

/** What a host gets that has never said anything: at first, and a second. Here it is one that the relay has to try to reach. */
const BURST = 128 * 1024
const PER_SECOND = 4 * 1024

const isRoot = process.getuid?.() === 0

test('a peer that names a victim as itself makes the relay send it little', {
  timeout: 120_000,
  skip: isRoot ? false : 'A network of its own takes root (unshare --net): run this file as root.'
}, async (t) => {
  const program = fileURLToPath(new URL('./support/reflection.mjs', import.meta.url))
  const { stdout } = await promisify(execFile)('unshare', ['--net', process.execPath, program, await relayProgram()], { timeout: 100_000 })
  const { datagrams, bytes, seconds, dials, dropped, honest } = JSON.parse(stdout.trim().split('\n').at(-1))

  t.diagnostic(`${dials} streams to the victim, ${datagrams} datagrams, ${bytes} bytes in ${seconds} s, ${dropped} held back`)
  assert.ok(dials > 100, 'the relay was not fooled, so that nothing is shown')
  assert.ok(dropped > 0, 'nothing was held back')
  assert.ok(bytes <= BURST + PER_SECOND * (seconds + 1) + 1500, `${bytes} bytes for a host that never asked`)
  assert.equal(honest, true)
})
