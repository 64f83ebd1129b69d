// The proof of a block on the demo page, against upstream's own hashes of the same log.

import assert from 'node:assert/strict'
import test from 'node:test'

import crypto from 'hypercore-crypto'

import { appendLine, createLog, lines, openLog, pictures, startDemo, startPage, startWriter, waitForState, waitForText } from './support/demo.mjs'

test('the tree around a block, each hash as upstream makes it, and a forged block', async (t) => {
  const { bootstrap, page, problems } = await startDemo(t)
  const written = lines(230)
  const { key, announce } = await startWriter(t, bootstrap, written)
  await announce()
  await openLog(page, key)
  await waitForState(page, 'complete')
  assert.match(await page.getByTestId('verdict').textContent(), /^Choose a block/)

  const path = hashesUp(written, 77)
  await choose(page, 77)
  await page.locator('[data-testid=verdict][data-tone=good]').waitFor()
  const hexes = await stepHexes(page)
  assert.deepEqual(hexes.slice(0, path.length), path.map((hash) => hash.toString('hex')))
  // The root once more, the hash of the log, who signed, the signature.
  assert.equal(hexes.length, path.length + 4)
  assert.equal(hexes[path.length], path.at(-1).toString('hex'))
  assert.equal(await page.locator('[data-testid=tree] .tree-node.path, [data-testid=tree] .tree-node.leaf').count(), path.length)
  assert.equal(await page.locator('[data-testid=tree] .tree-node.uncle.stored').count(), path.length - 1)
  assert.deepEqual(await page.locator('[data-testid=tree] .tree-node.root').evaluateAll((nodes) => nodes.map(({ dataset }) => Number(dataset.node)).sort((a, b) => a - b)), [127, 319, 415, 451, 457])
  await pictures(page, 'proof')

  await page.getByTestId('forge').focus()
  await page.keyboard.press('Space')
  await page.locator('[data-testid=verdict][data-tone=bad]').waitFor()
  assert.match(await page.getByTestId('verdict').textContent(), /it is refused.*The engine says: [A-Z]\w+/)
  const forged = await stepHexes(page)
  assert.ok(path.every((hash, place) => forged[place] !== hash.toString('hex')))
  assert.equal(forged[path.length], path.at(-1).toString('hex'))
  assert.equal(await page.locator('[data-testid=proof-step][data-state=bad]').count(), 3)
  await pictures(page, 'proof-forged')
  await page.getByTestId('forge').press('Space')
  await page.locator('[data-testid=verdict][data-tone=good]').waitFor()

  await choose(page, 229)
  await page.getByTestId('proof').getByText('Proof of block 229').waitFor()
  assert.deepEqual((await stepHexes(page)).slice(0, 2), hashesUp(written, 229).map((hash) => hash.toString('hex')).slice(0, 2))
  assert.deepEqual(problems, [])
})

test('the proof of a log of one’s own goes on as it grows', async (t) => {
  const { page, problems } = await startPage(t, { relayUrl: 'ws://127.0.0.1:9' })
  await createLog(page, 'Growing')
  await appendLine(page, 'one')
  await waitForText(page, 'length', '1')
  await choose(page, 0)
  await page.locator('[data-testid=verdict][data-tone=good]').waitFor()
  assert.equal((await stepHexes(page)).length, 5)
  for (const [line, steps] of [['two', 6], ['three', 6], ['four', 7]]) {
    await appendLine(page, line)
    await page.waitForFunction((steps) => document.querySelectorAll('[data-testid=proof-step]').length === steps, steps)
    await page.locator('[data-testid=verdict][data-tone=good]').waitFor()
  }
  assert.deepEqual((await stepHexes(page)).slice(0, 3), hashesUp(['one', 'two', 'three', 'four'], 0).map((hash) => hash.toString('hex')))
  await pictures(page, 'proof-small')
  assert.deepEqual(problems.filter((problem) => !/ERR_CONNECTION_REFUSED|ERR_UNSAFE_PORT/.test(problem)), [])
})

async function choose (page, index) {
  await page.getByTestId('jump-input').fill(String(index))
  await page.getByTestId('jump-input').press('Enter')
}

async function stepHexes (page) {
  return await page.getByTestId('proof-step').locator('code').evaluateAll((codes) => codes.map(({ dataset }) => dataset.hex))
}

/** The hashes from a block up to its root, by upstream. */
function hashesUp (lines, block) {
  let level = lines.map((line, index) => ({ index: 2 * index, size: Buffer.byteLength(line), hash: crypto.data(Buffer.from(line)) }))
  const hashes = []
  for (let at = block; at < level.length; at = Math.floor(at / 2)) {
    hashes.push(level[at].hash)
    const next = []
    for (let left = 0; left + 1 < level.length; left += 2) {
      const [a, b] = [level[left], level[left + 1]]
      next.push({ index: (a.index + b.index) / 2, size: a.size + b.size, hash: crypto.parent(a, b) })
    }
    level = next
  }
  return hashes
}
