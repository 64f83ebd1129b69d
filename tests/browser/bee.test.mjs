// A bee in a page: usable before the engine is loaded, there after a reload, and bytes as a page has them.

import assert from 'node:assert/strict'
import test from 'node:test'

import { openPage, servePackage, startBrowser } from './support/browser.mjs'

test('what a bee wrote in a page is there after a reload', async (t) => {
  const { url } = await servePackage(t)
  const { page, problems } = await openPage(await startBrowser(t), url)

  await page.evaluate(async () => {
    const { Hyperbee, Hypercore } = await import('/hypertab/browser/index.js')
    const bee = new Hyperbee(new Hypercore('bee'), { keyEncoding: 'utf-8', valueEncoding: 'json' })
    const users = bee.sub('users')
    const batch = users.batch()
    for (let i = 0; i < 50; i++) await batch.put(`user ${i}`, { i })
    await batch.flush()
    await bee.put('name', 'value')
  })
  await page.reload()
  const found = await page.evaluate(async () => {
    const { default: Hyperbee } = await import('/hypertab/browser/hyperbee.js')
    const { default: Hypercore } = await import('/hypertab/browser/hypercore.js')
    const bee = new Hyperbee(new Hypercore('bee'), { keyEncoding: 'utf-8', valueEncoding: 'json' })
    const keys = []
    for await (const { key } of bee.sub('users').createReadStream({ gt: 'user 45', limit: 3 })) keys.push(key)
    const raw = await bee.get('name', { valueEncoding: 'binary' })
    const changed = []
    const watcher = bee.watch()
    await watcher.ready()
    await bee.put('name', 'other')
    const { value: [current, previous] } = await watcher.next()
    for await (const { left, right } of current.createDiffStream(previous)) changed.push([left.value, right.value])
    await watcher.close()
    return { keys, raw: raw.value.constructor.name, version: bee.version, is: await Hyperbee.isHyperbee(bee.core), changed }
  })

  assert.deepEqual(found, {
    keys: ['user 46', 'user 47', 'user 48'], raw: 'Uint8Array', version: 53, is: true, changed: [['other', 'value']]
  })
  assert.deepEqual(problems, [])
})
