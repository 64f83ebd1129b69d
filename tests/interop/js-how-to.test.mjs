// Programs in the manner of upstream's guides to each structure, written for upstream's packages: a writer and a reader that meet
// by topic, either of them with ours and nothing but the imports changed.

import assert from 'node:assert/strict'
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { fileURLToPath } from 'node:url'

import { eventually } from './support/both.mjs'
import { temporaryFolder } from './support/folder.mjs'
import { startProcess } from './support/process.mjs'
import { startRelay } from './support/relay.mjs'
import { parseBootstrap } from './support/testnet.mjs'

const program = (name) => fileURLToPath(new URL(`support/how-to/${name}.mjs`, import.meta.url))

/** Plays a story with every pair that has ours in it: `start('writer' or 'reader', ...args)` starts one of its programs. */
function howTo (name, story, nameOf = (role) => `${name}-${role}`) {
  for (const [writer, reader] of [['hypertab', 'upstream'], ['upstream', 'hypertab'], ['hypertab', 'hypertab']]) {
    test(`${name}: ${writer} writes, ${reader} reads`, { timeout: 240_000 }, async (t) => {
      const { url, bootstrap } = await startRelay(t, { testnet: true })
      const kinds = { writer, reader }
      const start = (role, ...args) => {
        const isOurs = kinds[role] === 'hypertab'
        return startProcess(t, process.execPath, [...(isOurs ? ['--import', program('imports')] : []), program(nameOf(role)), ...args], {
          env: isOurs ? { RELAY: url } : { BOOTSTRAP: JSON.stringify(parseBootstrap(bootstrap)) }
        })
      }
      await story({ start, folder: () => temporaryFolder(t) })
    })
  }
}

howTo('hypercore', async ({ start, folder }) => {
  const [theirs, ours] = [folder(), folder()]
  let writer = start('writer', theirs)
  const { key, length } = await writer.next('key')
  assert.equal(length, 0)
  for (const line of ['one', 'two']) {
    writer.send(line)
    await writer.next('appended')
  }
  let reader = start('reader', ours, key)
  assert.equal((await reader.next('skipped')).length, 2)
  writer.send('three')
  assert.deepEqual(await reader.next('block'), { event: 'block', index: 2, text: 'three' })

  // Both go away and come back to what they have stored.
  for (const child of [writer, reader]) await child.kill()
  writer = start('writer', theirs)
  assert.deepEqual(await writer.next('key'), { event: 'key', key, length: 3 })
  writer.send('four')
  await writer.next('appended')
  reader = start('reader', ours, key)
  const { length: skipped } = await reader.next('skipped')
  assert.equal(skipped, 4)
  writer.send('five')
  assert.deepEqual(await reader.next('block'), { event: 'block', index: 4, text: 'five' })
})

howTo('corestore', async ({ start, folder }) => {
  const theirs = folder()
  let writer = start('writer', theirs)
  const { key, lengths } = await writer.next('key')
  assert.deepEqual(lengths, [1, 0, 0])
  const reader = start('reader', folder(), key)
  assert.equal((await reader.next('following')).otherKeys.length, 2)
  writer.send('abc')
  assert.deepEqual(await reader.next('block'), { event: 'block', place: 0, index: 0, text: 'abc' })
  writer.send('a longer line')
  assert.deepEqual(await reader.next('block'), { event: 'block', place: 1, index: 0, text: 'a longer line' })

  // The reader finds the writer again by itself.
  await writer.kill()
  writer = start('writer', theirs)
  assert.deepEqual(await writer.next('key'), { event: 'key', key, lengths: [1, 1, 1] })
  writer.send('more')
  assert.deepEqual(await reader.next('block', { patience: 90_000 }), { event: 'block', place: 0, index: 1, text: 'more' })
})

howTo('hyperbee', async ({ start, folder }) => {
  const writer = start('writer', folder())
  const { key, length } = await writer.next('key')
  assert.equal(length, 2001)
  const reader = start('reader', folder(), key)
  assert.deepEqual(await reader.next('opened'), { event: 'opened', length, key: 'word-1999', value: 'means 1999' })
  for (const [word, value] of [['word-0007', 'means 7'], ['word-1500', 'means 1500'], ['none', null]]) {
    reader.send(word)
    assert.deepEqual(await reader.next('found'), { event: 'found', word, value, isSparse: true })
  }
  writer.send({ word: 'new', meaning: 'not there before' })
  const { version } = await writer.next('put')
  await reader.next((message) => message.event === 'updated' && message.version === version, { what: `version ${version}` })
  reader.send('new')
  assert.equal((await reader.next('found')).value, 'not there before')
})

howTo('hyperdrive', async ({ start, folder }) => {
  const [from, to] = [folder(), folder()]
  mkdirSync(join(from, 'sub'))
  writeFileSync(join(from, 'a.txt'), 'a')
  writeFileSync(join(from, 'sub', 'large'), Buffer.alloc(300_000, 7))
  const writer = start('writer', folder(), from)
  const { key } = await writer.next('key')
  writer.send('')
  assert.deepEqual((await writer.next('mirrored')).count, { files: 2, add: 2, remove: 0, change: 0 })

  const reader = start('reader', folder(), to, key)
  const done = (files) => reader.next((message) => message.event === 'mirrored' && message.files.join() === files.join(), { what: `a mirror of ${files}` })
  await done(['/a.txt', '/sub/large'])
  assert.equal(readFileSync(join(to, 'a.txt'), 'utf8'), 'a')
  assert.deepEqual(readFileSync(join(to, 'sub', 'large')), Buffer.alloc(300_000, 7))

  rmSync(join(from, 'sub'), { recursive: true })
  writeFileSync(join(from, 'a.txt'), 'changed')
  writeFileSync(join(from, 'b.txt'), 'b')
  writer.send('')
  assert.deepEqual((await writer.next('mirrored')).count, { files: 2, add: 1, remove: 1, change: 1 })
  await done(['/a.txt', '/b.txt'])
  await eventually(() => readdirSync(to).sort().join() === 'a.txt,b.txt' && readFileSync(join(to, 'a.txt'), 'utf8') === 'changed')
})

howTo('autobase', async ({ start, folder }) => {
  const [theirs, ours] = [folder(), folder()]
  const writer = start('writer', theirs)
  const { key } = await writer.next('key')
  let reader = start('reader', ours, key)
  const { local } = await reader.next('key')
  const shows = (member, ...texts) => member.next(({ event, messages }) => event === 'view' && messages.join() === texts.join(), { what: `a view of ${texts}` })

  writer.send({ text: 'one' })
  await shows(reader, 'one')
  writer.send({ add: local })
  await reader.next(({ event, writable }) => event === 'view' && writable, { what: 'being a writer' })
  reader.send({ text: 'two' })
  await shows(writer, 'one', 'two')
  writer.send({ text: 'three' })
  for (const member of [writer, reader]) {
    await member.next(({ event, messages, signed }) => event === 'view' && messages.join() === 'one,two,three' && signed === 3, { what: 'three messages that both have signed' })
  }

  // Killed, and back with what it has stored.
  await reader.kill()
  reader = start('reader', ours, key)
  assert.equal((await reader.next('key')).local, local)
  await shows(reader, 'one', 'two', 'three')
  reader.send({ text: 'four' })
  await shows(writer, 'one', 'two', 'three', 'four')
}, () => 'autobase-member')
