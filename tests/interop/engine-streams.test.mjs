// The engine, which is taken apart for its way to a page, as it is given to a program.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'

import { root } from '../../scripts/lib/run.mjs'
import { packEngine } from '../../scripts/lib/streams.mjs'

const file = join(root, 'wasm', 'dist', 'engine', 'hypertab_bg.wasm')

for (const [what, source] of Object.entries({
  'its file': 'file',
  'its bytes': 'readFileSync(file)',
  'a module': 'new WebAssembly.Module(readFileSync(file))',
  'a promise of a module': 'WebAssembly.compile(readFileSync(file))',
  'the engine put together': 'engine()'
})) {
  test(`the engine starts from ${what}`, async () => {
    const program = `
      import { readFileSync } from 'node:fs'
      import { Hypercore, memory, ready } from 'hypertab'
      const file = process.argv[1]
      function engine () {
        const packed = new WebAssembly.Module(readFileSync(file))
        const [section] = WebAssembly.Module.customSections(packed, 'streams')
        const { memory, join } = new WebAssembly.Instance(packed).exports
        const start = memory.buffer.byteLength
        memory.grow(Math.ceil(3 * section.byteLength / 65536))
        new Uint8Array(memory.buffer).set(new Uint8Array(section), start)
        return new Uint8Array(memory.buffer.slice(start + section.byteLength, join(start, section.byteLength)))
      }
      await ready(${source})
      const core = new Hypercore(memory())
      console.log((await core.append('x')).length)`
    const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', program, file], { cwd: join(root, 'tests') })

    assert.equal(stdout, '1\n')
  })
}

test('an engine that cannot be taken apart is refused', () => {
  const modules = { splitter: splitterThatRefuses(), joiner: Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0) }

  assert.throws(() => packEngine(readFileSync(file), modules), /wasm\/streams does not know/)
})

/** A module with a memory and `split`, which says that it took nothing apart. */
function splitterThatRefuses () {
  return Uint8Array.of(
    0, 0x61, 0x73, 0x6d, 1, 0, 0, 0,
    1, 7, 1, 0x60, 2, 0x7f, 0x7f, 1, 0x7f,
    3, 2, 1, 0,
    5, 3, 1, 0, 1,
    7, 18, 2, 6, ...Buffer.from('memory'), 2, 0, 5, ...Buffer.from('split'), 0, 0,
    10, 9, 1, 7, 0, 0x20, 0, 0x20, 1, 0x6a, 0x0b
  )
}
