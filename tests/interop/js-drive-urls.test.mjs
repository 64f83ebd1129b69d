// Links to drives: those of Pear as upstream takes them, and our own.

import assert from 'node:assert/strict'
import test from 'node:test'

import upstream from 'pear-link'
import { formatUrl, openUrl, parseUrl, pearLink, ready, urlOf } from 'hypertab'
import Corestore from 'hypertab/corestore'
import Hyperdrive from 'hypertab/hyperdrive'

import { defer } from './support/cleanup.mjs'
import { temporaryFolder } from './support/folder.mjs'

const key = Buffer.alloc(32, 7)
const treeHash = Buffer.alloc(32, 9)
const z32 = 'yhdyqbaty4dooyhdyqbaty4dooyhdyqbaty4dooyhdyqbaty4dyy'

await ready()
const id = pearLink.serialize(key).slice('pear://'.length)
const hashId = pearLink.serialize(treeHash).slice('pear://'.length)

function outcome (run) {
  try {
    return { value: run() }
  } catch (error) {
    return { code: error.code }
  }
}

test('pear links are taken apart as upstream does', () => {
  for (const link of [
    `pear://${id}`, `pear://${id}/`, `pear://${id}/a/b.html?x=1#y`, `pear://${key.toString('hex')}/x`, `pear://0.12.${id}/a`, `pear://3.0.${id}`,
    `pear://0.12.${id}.${hashId}/a#b`, `pear://12.${id}`, `pear://a.12.${id}`, `pear://0.x.${id}`, `pear://0.1.${id}.${hashId}.more`, 'pear://', 'pear://nobody/x',
    'file:///a/b', 'file:///a/b/', 'file://host/a', '/a/b', 'a/b', 'http://x/y', '', 'pear://0.1.nobody', 'file:///a?x#y', './x'
  ]) {
    const expected = outcome(() => upstream.parse(link))
    const found = outcome(() => pearLink.parse(link))
    assert.deepEqual(found, expected.code === undefined && !expected.value ? found : expected, link)
  }
})

test('pear links are made as upstream does', () => {
  for (const input of [
    key, id, { drive: { key } }, { drive: { key, length: 12, fork: 0 } }, { drive: { key, length: 12, fork: 3, hash: treeHash }, pathname: '/a', search: '?b', hash: '#c' },
    { protocol: 'file:', pathname: '/a/b', hash: '#x' }, { protocol: 'pear:', drive: { key, alias: 'name' } }, { protocol: 'http:' }, {}
  ]) {
    assert.deepEqual(outcome(() => pearLink.serialize(input)), outcome(() => upstream.serialize(input)), JSON.stringify(input))
  }
  for (const link of ['pear://x/', 'pear://x', 'file:///a/b/']) assert.equal(pearLink.normalize(link), upstream.normalize(link))
})

test('hyper links come back', () => {
  for (const parts of [
    { key }, { key, path: '/a b/ü?#%.txt' }, { key, version: 12 }, { key, version: 0, path: '/x' }, { key, version: 3, treeHash, path: '/a', search: '?q=1', hash: '#f' },
    { protocol: 'pear:', key, version: 3, fork: 1, treeHash, path: '/ü' }, { protocol: 'pear:', key }
  ]) {
    const link = formatUrl(parts)
    const found = parseUrl(link)
    const expected = { protocol: 'hyper:', version: null, fork: null, treeHash: null, path: '/', search: '', hash: '', ...parts }
    assert.deepEqual({ ...found, key: Buffer.from(found.key), treeHash: found.treeHash && Buffer.from(found.treeHash) }, expected, link)
    assert.equal(formatUrl(found), link)
  }
  assert.equal(formatUrl({ key, version: 12, path: 'a' }), `hyper://${id}+12/a`)
  assert.equal(parseUrl(`hyper://${key.toString('hex')}/$/version/4/a/b`).version, 4)
  assert.equal(parseUrl(`hyper://${id}/$/version/4/a/b`).path, '/a/b')
  assert.equal(parseUrl(`HYPER://${id}`).path, '/')
})

test('links that say nothing are refused', () => {
  for (const link of [
    '', 'x', 'hyper://', 'hyper:///a', `hyper://${z32.slice(1)}/`, `hyper://${id}+`, `hyper://${id}+x`, `hyper://${id}+-1`, `hyper://${id}+1.5`, `hyper://${id}+1+2`,
    `hyper://${id}+1.${hashId}.x`, `hyper://${id}+1.nothash`, `hyper://${id}/%`, `hyper://${id}+99999999999999999999`, `https://${id}/`, 'file:///x'
  ]) assert.throws(() => parseUrl(link), undefined, link)
  assert.throws(() => formatUrl({ key, treeHash }), { code: 'ERR_INVALID_LINK' })
  assert.throws(() => formatUrl({ key, version: -1 }), { code: 'ERR_INVALID_LINK' })
  assert.throws(() => formatUrl({ key: 'no key' }))
})

test('a strong link means one content', async (t) => {
  const open = async (...args) => {
    const drive = new Hyperdrive(new Corestore(temporaryFolder(t)), ...args)
    defer(t, () => drive.close())
    await drive.ready()
    return drive
  }
  const a = await open()
  await a.put('/file', 'first')
  const strong = await urlOf(a, { strong: true, path: '/file' })
  const weak = await urlOf(a, { version: true, path: '/file' })
  for (let i = 0; i < 20; i++) await a.put(i === 0 ? '/file' : `/other-${i}`, `later ${i}`)
  const later = await urlOf(a, { strong: true, protocol: 'pear:' })
  const plain = await urlOf(a, { path: '/file' })

  const b = await open(a.key)
  const [one, other] = [a.replicate(true, { keepAlive: false }), b.replicate(false, { keepAlive: false })]
  one.pipe(other).pipe(one)
  defer(t, () => { one.destroy(); other.destroy() })
  for (const drive of [a, b]) {
    for (const [link, content] of [[strong, 'first'], [weak, 'first'], [plain, 'later 0']]) {
      const { drive: found, path } = await openUrl(drive, link)
      assert.equal(String(await found.get(path)), content)
      if (found !== drive) await found.close()
    }
    const { drive: found } = await openUrl(drive, later)
    assert.equal(found.version, 22)
    await found.close()
    const forged = formatUrl({ ...parseUrl(strong), treeHash })
    await assert.rejects(openUrl(drive, forged), { code: 'ERR_LINK_MISMATCH' })
    await assert.rejects(openUrl(drive, formatUrl({ key })), { code: 'ERR_LINK_MISMATCH' })
    await assert.rejects(openUrl(a, formatUrl({ key: a.key, version: 100 })), { code: 'ERR_LINK_MISMATCH' })
  }
  await assert.rejects(urlOf(a, { version: 100, strong: true }), { code: 'ERR_INVALID_LINK' })

  // Of another history is what has no hash to say that it is the same.
  const [old, oldStrong] = [await urlOf(a, { version: 2, protocol: 'pear:' }), await urlOf(a, { version: 2, strong: true, protocol: 'pear:' })]
  await a.truncate(10)
  for (const drive of [a, b]) {
    const renewed = await urlOf(a, { version: 2, protocol: 'pear:' })
    for (const link of [renewed, oldStrong]) {
      const { drive: found } = await openUrl(drive, link)
      assert.equal(found.version, 2)
      await found.close()
    }
    await assert.rejects(openUrl(drive, old), { code: 'ERR_LINK_MISMATCH', message: /history/ })
    const { drive: found } = await openUrl(drive, formatUrl({ key: a.key, version: 2 }))
    await found.close()
  }
})
