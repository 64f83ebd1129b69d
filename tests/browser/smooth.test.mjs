// What a page has of bulk that replicates in a worker: figures, which only a quiet machine can be held to, and that all of it arrives.

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'

import { serveCore } from '../bench/serve.mjs'
import { smoothness } from '../bench/smooth.mjs'

test('a page has its turns and its frames while a quarter of a gigabyte replicates through the worker', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'hypertab-smooth-'))
  const upstream = await serveCore(join(folder, 'upstream'))
  t.after(async () => {
    await upstream.close()
    rmSync(folder, { recursive: true, force: true })
  })

  const figures = await smoothness(upstream.remote)

  for (const [name, value, unit] of figures) t.diagnostic(`${name}: ${value.toPrecision(4)} ${unit}`)
  assert.deepEqual(figures.map(([name]) => name), [
    'replicate-in-a-worker', 'longest-task', 'wait-for-a-turn-p99', 'wait-for-a-turn-longest', 'between-frames-p99', 'between-frames-longest'
  ])
  for (const [name, value] of figures) assert.ok(name === 'longest-task' ? value >= 0 : value > 0, `${name} is ${value}`)
})
