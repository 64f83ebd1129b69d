// Text from bytes, as the package gives it which the decoder that streams have in browsers stands for, and bytes from text.

import assert from 'node:assert/strict'
import { randomInt } from 'node:crypto'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import test from 'node:test'
import { build } from 'esbuild'

import { root } from '../../scripts/lib/run.mjs'

const Theirs = createRequire(createRequire(join(root, 'wasm', 'package.json')).resolve('streamx'))('text-decoder')
const { default: Ours } = await load('text-decoder')
const { fromUtf8 } = await load('bytes')

const TEXT = new TextEncoder().encode('\ufeffa\u00e9\u20ac\u{1f600}b')

test('pieces of text are put together, wherever they are cut, and whatever is no text', () => {
  const seed = randomInt(2 ** 31)
  const random = randomOf(seed)
  for (const encoding of ['utf8', 'UTF-8', 'latin1', 'binary', 'ascii', 'hex']) {
    for (let round = 0; round < 2_000; round++) {
      const theirs = new Theirs(encoding)
      const ours = new Ours(encoding)
      for (let piece = 0; piece < 6; piece++) {
        const from = random(TEXT.byteLength)
        const bytes = TEXT.slice(from, from + random(6))
        if (random(4) === 0 && bytes.byteLength > 0) bytes[random(bytes.byteLength)] = random(256)
        assert.equal(ours.push(bytes), theirs.push(bytes), `seed ${seed}, ${encoding}, round ${round}, piece ${piece}`)
      }
    }
  }
})

test('a character whose bytes are not all there is known of', () => {
  const ours = new Ours()

  const remaining = [...TEXT].map((byte) => {
    ours.push(Uint8Array.of(byte))
    return ours.remaining
  })

  assert.deepEqual(remaining, [1, 2, 0, 0, 1, 0, 1, 2, 0, 1, 2, 3, 0, 0])
})

test('text stays as it is, and encodings that there are not are refused', () => {
  assert.equal(new Ours().push('as it is'), 'as it is')
  for (const encoding of ['utf16le', 'UCS-2', 'base64', 'rot13']) {
    const { message } = errorOf(() => new Theirs(encoding))
    assert.equal(errorOf(() => new Ours(encoding)).message, message)
  }
})

test('text of every length becomes the bytes that the encoder of the platform makes of it', () => {
  const seed = randomInt(2 ** 31)
  const random = randomOf(seed)
  const letters = ['a', '~', '\0', '\x7f', '\x80', '\u00e9', '\u20ac', '\u{1f600}', '\ud83d', '\udc00']
  for (let length = 0; length < 140; length++) {
    for (const choice of [4, letters.length]) {
      const text = Array.from({ length }, () => letters[random(choice)]).join('')
      assert.deepEqual(fromUtf8(text), new TextEncoder().encode(text), `seed ${seed}, ${JSON.stringify(text)}`)
      const last = `${'a'.repeat(length)}\u00e9`
      assert.deepEqual(fromUtf8(last), new TextEncoder().encode(last))
    }
  }
})

async function load (name) {
  const { outputFiles: [script] } = await build({
    entryPoints: [join(root, 'wasm', 'js', 'support', `${name}.ts`)], bundle: true, write: false, format: 'esm', target: 'es2022'
  })
  return await import(`data:text/javascript,${encodeURIComponent(script.text)}`)
}

function errorOf (action) {
  try {
    action()
  } catch (error) {
    return error
  }
  assert.fail('it was not refused')
}

function randomOf (seed) {
  let state = seed >>> 0
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor(state / 2 ** 32 * below)
  }
}
