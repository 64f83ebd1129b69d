// One program, run with upstream's drives and with ours: what it says must be the same.

import assert from 'node:assert/strict'
import test from 'node:test'

import UpstreamStore from 'corestore'
import UpstreamDrive from 'hyperdrive'
import UpstreamLocaldrive from 'localdrive'
import UpstreamMirror from 'mirror-drive'
import Corestore from 'hypertab/corestore'
import Hyperdrive from 'hypertab/hyperdrive'
import Localdrive from 'hypertab/localdrive'
import MirrorDrive from 'hypertab/mirror-drive'

import { defer } from './cleanup.mjs'
import { temporaryFolder } from './folder.mjs'
import { playDrives } from './drive-scene.mjs'

export { collect, noise, tree, write } from './drive-scene.mjs'

/** The implementations, by name. */
export const kits = {
  upstream: { name: 'upstream', Corestore: UpstreamStore, Hyperdrive: UpstreamDrive, Localdrive: UpstreamLocaldrive, MirrorDrive: UpstreamMirror },
  hypertab: { name: 'hypertab', Corestore, Hyperdrive, Localdrive, MirrorDrive }
}

/** Runs a program with each implementation and compares what it notes. */
export function sameDrives (name, program) {
  test(name, async (t) => {
    const expected = await play(t, [kits.upstream], program)
    assert.deepEqual(await play(t, [kits.hypertab], program), expected)
  })
}

/** Runs a program with one implementation on each side, in every combination. */
export function sameDrivesOfEveryPair (name, program) {
  test(name, async (t) => {
    const { upstream, hypertab } = kits
    const expected = await play(t, [upstream, upstream], program)
    for (const pair of [[hypertab, upstream], [upstream, hypertab], [hypertab, hypertab]]) {
      await t.test(pair.map((kit) => kit.name).join(' and '), async (t) => {
        assert.deepEqual(await play(t, pair, program), expected)
      })
    }
  })
}

function play (t, pair, program) {
  return playDrives(pair, program, { folder: () => temporaryFolder(t), defer: (step) => { defer(t, step) } })
}
