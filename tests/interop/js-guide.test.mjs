// What the readme of the package says to a newcomer about a tab and a peer in Node, as it stands there.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'

import { root } from '../../scripts/lib/run.mjs'
import { temporaryFolder } from './support/folder.mjs'
import { startProcess } from './support/process.mjs'
import { startRelay } from './support/relay.mjs'

const section = /\n## A tab and a peer in Node\n([^]*?)\n## /.exec(readFileSync(join(root, 'wasm', 'README.md'), 'utf8'))[1]
const [peer, tab] = [...section.matchAll(/```js\n([^]*?)```/g)].map(([, code]) => code)

/** A program of the readme, with values in the place of some of its words. */
function program (code, values) {
  for (const [word, value] of Object.entries(values)) {
    assert.ok(code.includes(word), `${word} is in the readme`)
    code = code.replaceAll(word, value)
  }
  return code
}

test('the two programs of the readme meet, and the tab is the same at every visit', { timeout: 120_000 }, async (t) => {
  const { url, bootstrap } = await startRelay(t, { testnet: true })
  const [theirs, ours] = [temporaryFolder(t), temporaryFolder(t)]
  // What a line of text prints comes as JSON.
  const run = (code) => startProcess(t, process.execPath, ['--input-type=module', '--eval', `console.log = (text) => process.stdout.write(JSON.stringify({ event: 'said', text: String(text) }) + '\\n')\n${code}`], { cwd: join(root, 'tests', 'interop') })

  const writer = run(program(peer, { './data': theirs, '127.0.0.1:49737': bootstrap[0] }))
  const id = (await writer.next('said')).text
  assert.match(id, /^[a-z0-9]{52}$/)

  const keys = []
  for (let visit = 0; visit < 2; visit++) {
    const reader = run(program(`${tab}\nconsole.log(keyPair.publicKey.toString('hex'))\n`, { 'my-store': ours, 'ws://127.0.0.1:8080': url, 'the id that peer.mjs printed': id }))
    assert.equal((await reader.next('said')).text, 'hello from Node')
    keys.push((await reader.next('said')).text)
    await reader.stop()
  }
  assert.equal(keys[0], keys[1])
})
