// The messages of a bee by either package, written and read by hand.

import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import test from 'node:test'

import Hypercore from 'hypertab/hypercore'
import Hyperbee from 'hypertab/hyperbee'
import * as imported from 'hypertab/hyperbee/lib/messages'

import { defer } from './support/cleanup.mjs'
import { temporaryFolder } from './support/folder.mjs'

const require = createRequire(import.meta.url)
const theirs = require('hyperbee/lib/messages')
const ours = require('hypertab/hyperbee/lib/messages.js')

const bytes = (...values) => Buffer.from(values)
const large = 2 ** 53 - 1

/** Messages of every kind, by where their codec is. */
const MESSAGES = [
  ['YoloIndex', { levels: [] }],
  ['YoloIndex', { levels: [{ keys: [], children: [] }, { keys: [1, 300, large], children: [0, 2, 70_000, 1] }] }],
  ['YoloIndex', { levels: [null, { keys: [1, undefined, 2] }] }],
  ['YoloIndex.Level', { children: [5] }],
  ['Header', { protocol: 'hyperbee' }],
  ['Header', { protocol: 'bée', metadata: {} }],
  ['Header', { protocol: '', metadata: { contentFeed: Buffer.alloc(32, 1), userData: 'text' } }],
  ['Header.Metadata', { userData: bytes() }],
  ['Node', { index: bytes(10, 0), key: bytes(1) }],
  ['Node', { index: bytes(), key: bytes(), value: Buffer.alloc(1000, 7) }],
  ['Node', { index: bytes(1), key: 'text', value: null }],
  ['Extension', {}],
  ['Extension', { cache: { start: 0, end: 5, blocks: [4, 2] }, get: { version: 1, key: bytes(1) }, iterator: null }],
  ['Extension', { iterator: { version: 300, gte: bytes(1), gt: bytes(2), lte: bytes(3), lt: bytes(4), limit: 128, reverse: true, checkpoint: [0, 1, large] } }],
  ['Extension', { iterator: { reverse: false, checkpoint: [] } }],
  ['Extension.Get', { version: 0 }],
  ['Extension.Cache', { start: large, end: large }],
  ['Extension.Iterator', {}]
]

const codecOf = (messages, path) => path.split('.').reduce((from, name) => from[name], messages)

function outcome (work) {
  try {
    return work()
  } catch ({ name, message }) {
    return { name, message }
  }
}

test('messages are written and read as upstream does', () => {
  assert.deepEqual(Object.keys(ours).sort(), Object.keys(theirs).sort())
  assert.equal(ours.Node, imported.Node)
  for (const [path, message] of MESSAGES) {
    const [expected, codec] = [theirs, ours].map((messages) => codecOf(messages, path))
    assert.equal(codec.buffer, true)
    const written = expected.encode(message)
    assert.deepEqual(codec.encode(message), written, path)
    assert.equal(codec.encode.bytes, written.byteLength)
    assert.equal(codec.encodingLength(message), written.byteLength)
    const read = codec.decode(written)
    assert.deepEqual(read, expected.decode(written), path)
    assert.deepEqual(Object.keys(read), Object.keys(expected.decode(written)))
    assert.equal(codec.decode.bytes, written.byteLength)

    // In the middle of other bytes.
    const [into, whole] = [codec, expected].map((one) => one.encode(message, Buffer.alloc(written.byteLength + 9, 255), 4))
    assert.deepEqual(into, whole)
    assert.deepEqual(codec.decode(into, 4, 4 + written.byteLength || 4), expected.decode(into, 4, 4 + written.byteLength || 4))
    assert.equal(codec.decode.bytes, expected.decode.bytes)
  }
})

test('fields that are not known are passed over, and the last one counts', () => {
  const known = theirs.Node.encode({ index: bytes(1), key: bytes(2), value: bytes(3) })
  const unknown = [bytes(0x20, 0x96, 1), bytes(0x21, 1, 2, 3, 4, 5, 6, 7, 8), bytes(0x2a, 2, 9, 9), bytes(0x25, 1, 2, 3, 4)]
  const message = Buffer.concat([...unknown, known, ...unknown, bytes(0x12, 1, 9)])
  assert.deepEqual(ours.Node.decode(message), theirs.Node.decode(message))
})

test('what is no message is refused with the words of upstream', () => {
  for (const [path, message] of [['Header', {}], ['Node', { key: bytes(1) }], ['Node', { index: bytes(1) }], ['Extension.Cache', { start: 1 }]]) {
    const refused = outcome(() => codecOf(theirs, path).encode(message))
    assert.ok(refused.message, path)
    assert.deepEqual(outcome(() => codecOf(ours, path).encode(message)), refused, path)
  }
  for (const [path, message] of [
    ['Node', bytes()], ['Node', bytes(10, 0)], ['Node', bytes(0x80)], ['Node', bytes(0x23)], ['Node', bytes(0x24)], ['Node', bytes(0x27)], ['Node', Buffer.alloc(20, 0xff)],
    ['Header', bytes(10, 1, 97, 0x12, 5, 10)], ['Extension', bytes(10, 2, 8, 1)], ['YoloIndex', bytes(10, 9)]
  ]) {
    const refused = outcome(() => codecOf(theirs, path).decode(message))
    assert.ok(refused.message, message.toString('hex'))
    assert.deepEqual(outcome(() => codecOf(ours, path).decode(message)), refused, message.toString('hex'))
  }
  // Upstream writes something of its own for a number that is out of range, and gives less than a message says.
  for (const version of [-1, 2 ** 60]) assert.throws(() => ours.Extension.Get.encode({ version }), { name: 'RangeError' })
  assert.throws(() => ours.Node.decode(bytes(10, 0, 18, 9, 1)), { message: 'Decoded message is not valid' })
})

test('blocks of a bee, read by hand', async (t) => {
  const bee = new Hyperbee(new Hypercore(temporaryFolder(t)), { keyEncoding: 'utf-8', valueEncoding: 'utf-8' })
  defer(t, () => bee.close())
  await bee.put('key', 'value')
  assert.deepEqual(ours.Header.decode(await bee.core.get(0)), { protocol: 'hyperbee', metadata: null })
  const { index, key, value } = ours.Node.decode(await bee.core.get(1))
  assert.deepEqual([String(key), String(value), ours.YoloIndex.decode(index)], ['key', 'value', { levels: [{ keys: [1], children: [] }] }])
})
