// npm start, ended before it has started anything.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'

import { root } from '../../scripts/lib/run.mjs'
import { temporaryFolder } from './support/folder.mjs'

for (const signal of ['SIGINT', 'SIGTERM']) {
  test(`${signal} while npm start builds leaves nothing in the temporary folder`, async (t) => {
    const folder = temporaryFolder(t)
    // In a group of its own, as from a terminal: what it builds with is to end, too.
    const child = spawn(process.execPath, [join(root, 'scripts', 'start.mjs'), '--port', '0'], {
      detached: true,
      env: { ...process.env, TMPDIR: folder },
      stdio: ['ignore', 'pipe', 'inherit']
    })
    t.after(() => { if (child.exitCode === null && child.signalCode === null) process.kill(-child.pid, 'SIGKILL') })
    let printed = ''
    child.stdout.setEncoding('utf8')
    while (!printed.includes('building')) printed += (await once(child.stdout, 'data'))[0]
    assert.equal(readdirSync(folder).filter((name) => name.startsWith('hypertab-start-')).length, 1)

    process.kill(-child.pid, signal)
    await once(child, 'exit')

    assert.deepEqual(readdirSync(folder).filter((name) => name.startsWith('hypertab-start-')), [])
  })
}
