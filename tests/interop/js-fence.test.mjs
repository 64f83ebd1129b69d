// One writer a store, even when the lock that guards its folder is gone.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'

import { Hypercore } from 'hypertab'

import { temporaryFolder } from './support/folder.mjs'
import { startProcess } from './support/process.mjs'

const program = `
  const { Hypercore } = require('hypertab')
  const core = new Hypercore(process.argv[1])
  const tell = (event, more) => console.log(JSON.stringify({ event, ...more }))
  core.ready().then(() => tell('open', { length: core.length }))
  process.stdin.on('data', () => {
    core.append('from the child').then(
      ({ length }) => tell('appended', { length }),
      (error) => tell('refused', { code: error.code, cause: error.cause?.code, message: error.message, length: core.length, closed: core.closed }))
  })
`

test('a process whose folder another one took over is told, and writes nothing', async (t) => {
  const path = temporaryFolder(t)
  const child = startProcess(t, 'node', ['-e', program, path], { cwd: import.meta.dirname })
  await child.next('open')
  child.send({})
  assert.equal((await child.next('appended')).length, 1)

  rmSync(join(path, 'lock'))
  const core = new Hypercore(path)
  await core.ready()
  assert.equal(core.length, 1)
  const before = readFileSync(join(path, 'store'))
  child.send({})
  const refused = await child.next('refused')

  assert.deepEqual([refused.code, refused.cause], ['WRITE_FAILED', 'STORAGE_TAKEN_OVER'])
  assert.match(refused.message, /taken over by another tab or process/)
  assert.deepEqual(readFileSync(join(path, 'store')), before)
  assert.equal((await core.append('from here')).length, 2)
  await child.kill()
  await core.close()

  const again = new Hypercore(path)
  await again.ready()
  assert.deepEqual([again.length, String(await again.get(0)), String(await again.get(1))], [2, 'from the child', 'from here'])
  await again.close()
})

test('a core whose store was taken over in this process closes with the reason', async (t) => {
  const path = temporaryFolder(t)
  const first = new Hypercore(path)
  await first.append('a')
  const child = startProcess(t, 'node', ['-e', program, path], { cwd: import.meta.dirname })
  rmSync(join(path, 'lock'))
  await child.next('open')

  const closed = once(first, 'close')
  await assert.rejects(first.append('b'), (error) => /taken over/.test(error.message) || /taken over/.test(error.cause?.message))
  await closed
  await assert.rejects(first.get(0))
  child.send({})
  assert.equal((await child.next('appended')).length, 2)
})
