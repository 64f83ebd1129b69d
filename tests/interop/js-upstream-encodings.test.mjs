// What each encoding makes of each kind of value, of blocks, keys, values and messages: what is no text is refused, and what is
// empty stays empty.

import c from 'compact-encoding'

import { sameBees } from './support/bees.mjs'
import { sameWithBoth, sameWithEveryPair } from './support/both.mjs'

const names = ['binary', 'utf-8', 'utf8', 'json', 'hex', 'base64', 'ascii', 'ucs2', 'utf16-le', 'none', undefined]
const codecs = { 'compact string': c.string, 'compact json': c.json, 'of a program': { encode: (value) => Buffer.from(`<${value}>`), decode: (bytes) => [bytes.toString()] } }
const values = [undefined, null, 0, 1.5, true, 'text', 'é€😀', '\ud800', '', Buffer.from('bytes'), new Uint8Array([1, 2]), new Uint8Array(0), [1, 2], ['a'], [[]], {}, { a: 1 }, new Date(5), Symbol, 10n, new Uint16Array([1, 2]), '6869', 'aGk=', '-_-_']

/** Upstream writes what memory held before where text is no number of that many digits. */
const isLeaking = (encoding, value) => ['hex', 'base64'].includes(encoding) && typeof [value].flat()[0] === 'string' && !/^([0-9a-f]{2})*$/.test([value].flat()[0])

const outcomeOf = async (run) => {
  try {
    return await run()
  } catch (error) {
    return error.name
  }
}
const valuesFor = (encoding) => values.filter((value) => !isLeaking(encoding, value))

for (const [what, encodings] of [['of a name', names], ['of a codec', Object.keys(codecs)]]) {
  sameWithBoth(`blocks in an encoding ${what}`, async ({ create, note }) => {
    for (const encoding of encodings) {
      const core = await create({ valueEncoding: codecs[encoding] ?? encoding })
      for (const value of valuesFor(encoding)) {
        const from = core.length
        note(encoding, await outcomeOf(() => core.append(value)))
        for (let i = from; i < core.length; i++) {
          const block = await core.get(i, { valueEncoding: 'binary' })
          note(block, block?.constructor.name, await outcomeOf(() => core.get(i)))
        }
      }
      await core.close()
    }
  })

  for (const where of ['key', 'value']) {
    sameBees(`a ${where} of a bee in an encoding ${what}`, async ({ createBee, note }) => {
      for (const encoding of encodings) {
        const open = () => createBee({ [`${where}Encoding`]: codecs[encoding] ?? encoding })
        let bee = await open()
        for (const value of valuesFor(encoding)) {
          // Whether a key is there is another matter.
          if (where === 'key' && (value === undefined || value === null)) continue
          const before = bee.core.length
          const outcome = await outcomeOf(() => where === 'key' ? bee.put(value, 'x') : bee.put('k', value))
          const { length } = bee.core
          note(encoding, outcome, length, length > Math.max(before, 1) ? await outcomeOf(() => bee.getBySeq(length - 1)) : null)
          if (outcome === undefined) continue
          // Upstream's waits for ever for what it could not encode.
          await bee.close()
          bee = await open()
        }
        await bee.close()
      }
    })
  }
}

sameWithEveryPair('messages of an extension in an encoding', async ({ createA, createB, replicate, note }) => {
  for (const encoding of ['binary', 'utf-8', 'json', undefined]) {
    const a = await createA()
    const b = await createB(a.key)
    const heard = []
    let last
    const done = new Promise((resolve) => { last = resolve })
    b.registerExtension('test', { encoding, onmessage: (message) => { message?.toString() === 'last' ? last() : heard.push(message) } })
    const extension = a.registerExtension('test', { encoding })
    replicate(a, b, { keepAlive: false })
    while (a.peers.length === 0) await new Promise((resolve) => setTimeout(resolve, 5))
    const sent = []
    for (const value of ['text', '', Buffer.from('bytes'), Buffer.alloc(0)]) sent.push(await outcomeOf(() => extension.send(value, a.peers[0])))
    extension.send(encoding === undefined ? Buffer.from('last') : 'last', a.peers[0])
    await done
    note(encoding, sent, heard)
  }
})

sameBees('blocks of a bee by numbers that are none', async ({ createBee, note }) => {
  const bee = await createBee({})
  await bee.put('a', 'b')
  for (const seq of [undefined, -1, 'x', NaN]) {
    try {
      note(await bee.getBySeq(seq))
    } catch ({ code }) {
      note(code)
    }
  }
})
