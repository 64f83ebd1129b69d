// Drives at addresses of the application: files with types, ranges and tags, web sites, and documents without rights.

import assert from 'node:assert/strict'
import test from 'node:test'

import Corestore from 'corestore'
import Hyperdrive from 'hyperdrive'

import { defer } from '../interop/support/cleanup.mjs'
import { temporaryFolder } from '../interop/support/folder.mjs'
import { openPage, servePackage, startBrowser } from './support/browser.mjs'
import { serveStore } from './support/store-server.mjs'

const WORKER = { type: 'text/javascript', body: "import '/hypertab/browser/service-worker.js'" }

/** Runs on a page: makes drives and serves them. */
async function serve (drives) {
  const { Corestore, Hyperdrive } = await import('/hypertab/browser/index.js')
  const { serveDrives } = await import('/hypertab/browser/service-worker.js')
  globalThis.store = new Corestore('app')
  globalThis.drives = {}
  const bytesOf = (value) => typeof value === 'string' ? new TextEncoder().encode(value) : Uint8Array.from(value)
  for (const [name, files] of Object.entries(drives)) {
    const drive = new Hyperdrive(store.namespace(name))
    await drive.ready()
    for (const [path, value] of Object.entries(files)) await drive.put(path, bytesOf(value))
    globalThis.drives[name] = drive
  }
  const byId = new Map(Object.values(globalThis.drives).map((drive) => [drive.id, drive]))
  globalThis.server = serveDrives((key) => byId.get(key) ?? null, { worker: '/sw.js' })
  await server.ready
  return Object.fromEntries(await Promise.all(Object.entries(globalThis.drives).map(async ([name, drive]) => [name, await server.address(drive, '/')])))
}

/** Runs on a page. */
async function get ([address, headers = {}, method = 'GET']) {
  const response = await fetch(address, { headers, method, redirect: 'follow' })
  return {
    status: response.status,
    url: response.url,
    type: response.headers.get('content-type'),
    range: response.headers.get('content-range'),
    length: response.headers.get('content-length'),
    tag: response.headers.get('etag'),
    cache: response.headers.get('cache-control'),
    text: await response.text()
  }
}

test('files have types, ranges and tags, folders an index, and versions stay', async (t) => {
  const { url } = await servePackage(t, { '/sw.js': WORKER })
  const { page, problems } = await openPage(await startBrowser(t), url)
  const { site } = await page.evaluate(serve, {
    site: { '/a.txt': '0123456789', '/docs/index.html': '<h1>docs</h1>', '/docs/more.html': 'more', '/files/x y.png': [1, 2, 3], '/files/a.constructor': 'a', '/files/html': 'h' }
  })
  const fetched = (...args) => page.evaluate(get, args)

  const whole = await fetched(`${site}a.txt`)
  assert.deepEqual([whole.status, whole.type, whole.text, whole.cache], [200, 'text/plain; charset=utf-8', '0123456789', 'no-cache'])
  const ranges = {
    'bytes=2-4': [206, 'bytes 2-4/10', '234'],
    'bytes=7-': [206, 'bytes 7-9/10', '789'],
    'bytes=-3': [206, 'bytes 7-9/10', '789'],
    'bytes=5-100': [206, 'bytes 5-9/10', '56789'],
    'bytes=10-': [416, 'bytes */10', ''],
    'bytes=0-1,4-5': [200, null, '0123456789']
  }
  for (const [range, expected] of Object.entries(ranges)) {
    const { status, range: answered, text } = await fetched(`${site}a.txt`, { range })
    assert.deepEqual([status, answered, text], expected, range)
  }
  assert.equal((await fetched(`${site}a.txt`, { range: 'bytes=2-4', 'if-range': '"other"' })).status, 200)
  assert.equal((await fetched(`${site}a.txt`, { 'if-none-match': whole.tag })).status, 304)
  assert.deepEqual((({ status, length, text }) => [status, length, text])(await fetched(`${site}a.txt`, {}, 'HEAD')), [200, '10', ''])
  assert.deepEqual((({ status, range, length }) => [status, range, length])(await fetched(`${site}a.txt`, { range: 'bytes=2-4' }, 'HEAD')), [200, null, '10'])
  assert.equal((await fetched(`${site}a.txt`, { 'if-none-match': `"other", W/${whole.tag}` })).status, 304)
  assert.equal((await fetched(`${site}a.txt`, {}, 'POST')).status, 405)
  assert.deepEqual((({ url, text }) => [url, text])(await fetched(`${site}docs`)), [`${site}docs/`, '<h1>docs</h1>'])
  assert.equal((await fetched(`${site}docs/more`)).text, 'more')
  assert.match((await fetched(`${site}files/`)).text, /<a href="\.\/x%20y\.png">x y\.png<\/a>/)
  assert.deepEqual((({ type, text }) => [type, text])(await fetched(`${site}files/x%20y.png`)), ['image/png', '\u0001\u0002\u0003'])
  assert.equal((await fetched(`${site}nothing`)).status, 404)
  // Names that objects and types have, and more slashes than a path needs.
  for (const name of ['a.constructor', 'html']) assert.deepEqual((({ status, type }) => [status, type])(await fetched(`${site}files/${name}`)), [200, 'application/octet-stream'])
  assert.deepEqual((({ url, text }) => [url, text])(await fetched(`${site}//docs`)), [`${site}//docs/`, '<h1>docs</h1>'])
  assert.deepEqual(await page.evaluate(async () => [await server.address(drives.site, '/../../a/./b/../c'), await server.address(drives.site, 'docs/')]), [`${site}a/c`, `${site}docs/`])

  // A version is what it was.
  const { version, before } = await page.evaluate(async () => {
    const { version } = drives.site
    await drives.site.put('/a.txt', new TextEncoder().encode('changed'))
    return { version, before: await server.address(drives.site, '/a.txt', version) }
  })
  assert.ok(before.includes(`+${version}/`))
  assert.deepEqual((({ text, cache }) => [text, cache])(await fetched(before)), ['0123456789', 'public, max-age=31536000, immutable'])
  const changed = await fetched(`${site}a.txt`)
  assert.equal(changed.text, 'changed')
  assert.notEqual(changed.tag, whole.tag)
  assert.deepEqual(problems.filter((problem) => !problem.includes('the server responded with a status')), [])
})

test('of a large file in Node only what is asked for is fetched', async (t) => {
  const store = new Corestore(temporaryFolder(t))
  defer(t, () => store.close())
  const drive = new Hyperdrive(store)
  const film = Buffer.alloc(64 << 20)
  for (let at = 0; at < film.length; at += 4) film.writeUInt32LE(at, at)
  await drive.put('/film.mp4', film)
  const address = await serveStore(t, store)
  const { url } = await servePackage(t, { '/sw.js': WORKER })
  const { page } = await openPage(await startBrowser(t), url)

  const found = await page.evaluate(async ([key, address]) => {
    const { Corestore, Hyperdrive } = await import('/hypertab/browser/index.js')
    const { serveDrives } = await import('/hypertab/browser/service-worker.js')
    const store = new Corestore('app')
    const drive = new Hyperdrive(store, key)
    const stream = store.replicate(true)
    const socket = new WebSocket(address)
    socket.binaryType = 'arraybuffer'
    socket.onmessage = ({ data }) => { stream.write(new Uint8Array(data)) }
    socket.onopen = () => stream.on('data', (data) => socket.send(data))
    stream.on('error', () => {})
    await drive.ready()
    while (drive.version < 2) await drive.update({ wait: true })
    const server = serveDrives((id) => id === drive.id ? drive : null, { worker: '/sw.js' })
    await server.ready
    const film = await server.address(drive, '/film.mp4')
    const at = 50 << 20
    const response = await fetch(film, { headers: { range: `bytes=${at}-${at + 999_999}` } })
    const bytes = new DataView(await response.arrayBuffer())
    let isRight = bytes.byteLength === 1_000_000
    for (let offset = 0; offset < bytes.byteLength; offset += 4) if (bytes.getUint32(offset, true) !== at + offset) isRight = false
    // A player asks for the rest, and stops.
    const rest = await fetch(film, { headers: { range: `bytes=${10 << 20}-` } })
    const reader = rest.body.getReader()
    const { value } = await reader.read()
    await reader.cancel()
    await new Promise((resolve) => setTimeout(resolve, 300))
    const blobs = await drive.getBlobs()
    let blocks = 0
    for (let index = 0; index < blobs.core.length; index++) if (await blobs.core.has(index)) blocks++
    return { isRight, status: [response.status, rest.status], range: rest.headers.get('content-range'), first: new DataView(value.buffer, value.byteOffset).getUint32(0, true), share: blocks / blobs.core.length }
  }, [drive.id, address])

  assert.deepEqual(found.status, [206, 206])
  assert.ok(found.isRight)
  assert.equal(found.first, 10 << 20)
  assert.equal(found.range, `bytes ${10 << 20}-${film.length - 1}/${film.length}`)
  assert.ok(found.share < 0.07, `${found.share} of the file was fetched`)
})

test('a site runs from a drive, with styles, pictures, modules and what its scripts ask for', async (t) => {
  const { url } = await servePackage(t, { '/sw.js': WORKER })
  const context = await startBrowser(t)
  const { page } = await openPage(context, url)
  const svg = '<svg xmlns="http://www.w3.org/2000/svg" width="7" height="7"/>'
  const { site } = await page.evaluate(serve, {
    site: {
      '/index.html': '<!doctype html><html><head><title>static</title><link rel="icon" href="data:,"><link rel="stylesheet" href="/style.css"></head><body><img src="pictures/a.svg"><a href="app/">app</a></body></html>',
      '/style.css': 'body { color: rgb(1, 2, 3) }',
      '/pictures/a.svg': svg,
      '/app/index.html': '<!doctype html><html><head><link rel=stylesheet href=../style.css><script type="module" src="main.js"></script></head><body><img src="../pictures/a.svg"><script>window.inline = true</script></body></html>',
      '/app/main.js': "import { text } from './part.js'\nconst data = await (await fetch('data.json')).json()\nconst missing = (await fetch('nothing.json')).status\nconst img = new Image()\nimg.onload = () => { document.title = [text, data.n, missing, window.inline, img.naturalWidth].join(' ') }\nimg.src = '../pictures/a.svg'\ndocument.body.append(img)\n",
      '/app/part.js': "export const text = 'modules'",
      '/app/data.json': '{"n":42}'
    }
  })

  const { page: visit, problems } = await openPage(context, site)
  assert.equal(await visit.title(), 'static')
  assert.equal(await visit.evaluate(() => getComputedStyle(document.body).color), 'rgb(1, 2, 3)')
  assert.equal(await visit.evaluate(() => document.images[0].naturalWidth), 7)
  assert.deepEqual(problems, [])
  await visit.getByText('app').click()
  await visit.waitForFunction(() => window.inline && document.images[0]?.naturalWidth === 7)
  assert.equal(await visit.evaluate(() => getComputedStyle(document.body).color), 'rgb(1, 2, 3)')
  assert.equal(await visit.evaluate(() => origin), 'null')
  // In a frame of the application its scripts get what they ask for.
  await page.evaluate((address) => {
    const frame = document.createElement('iframe')
    frame.src = address
    document.body.append(frame)
  }, `${site}app/`)
  const frame = await (await page.waitForSelector('iframe')).contentFrame()
  await frame.waitForFunction(() => document.title !== '')
  assert.equal(await frame.title(), 'modules 42 404 true 7')
})

test('a page that was loaded past the service worker serves drives all the same', async (t) => {
  const { url } = await servePackage(t, { '/sw.js': WORKER })
  const context = await startBrowser(t)
  const { page } = await openPage(context, url)
  await page.evaluate(serve, {})
  const session = await context.newCDPSession(page)
  const loaded = page.waitForEvent('load')
  await session.send('Page.reload', { ignoreCache: true })
  await loaded
  assert.equal(await page.evaluate(() => navigator.serviceWorker.controller), null)

  const { site } = await page.evaluate(serve, { site: { '/a.txt': 'a' } })
  assert.equal((await page.evaluate(get, [`${site}a.txt`])).text, 'a')
})

test('documents of a drive that are large, many or never end hold nothing up', async (t) => {
  const { url } = await servePackage(t, { '/sw.js': WORKER })
  const context = await startBrowser(t)
  const { page } = await openPage(context, url)
  const head = '<!doctype html><html><head></head><body><script>document.title = "ran"</script>'
  const { site } = await page.evaluate(serve, { site: { '/a.txt': 'a' } })
  await page.evaluate(async ([head]) => {
    const put = (path, text) => drives.site.put(path, new TextEncoder().encode(text))
    const many = (text) => text.repeat(150_000)
    await put('/tags.html', head + many('<img') + many('<style') + many('<script type="x') + many('<head'))
    await put('/styles.html', `${head}<style>${many('url(')}${many('@import "')}</style>`)
    await put('/modules.html', `${head}<script type="module">/* ${many('import a ')}${many('from ')} import${many(' ')}x */</script>`)
    await put('/film.bin', 'x'.repeat(33 << 20))
    await put('/film.html', `${head}<video src="film.bin"></video>`)
    await put('/large.html', `${head}<!--${' '.repeat(33 << 20)}-->`)
  }, [head])

  for (const name of ['tags', 'styles', 'modules', 'film']) {
    const { page: visit } = await openPage(context, `${site}${name}.html`)
    assert.equal(await visit.title(), 'ran', name)
    await visit.close()
  }
  // What is larger than a page can be is shown without its scripts.
  const { page: large } = await openPage(context, `${site}large.html`)
  assert.equal(await large.title(), '')
  // Versions: each is there, and not all of them stay open.
  const kept = await page.evaluate(async () => {
    const before = store.sessions.list().length
    for (let round = 0; round < 50; round++) await drives.site.put('/a.txt', Uint8Array.of(48 + round % 10))
    const texts = []
    for (let version = drives.site.version - 49; version <= drives.site.version; version++) texts.push(await (await fetch(await server.address(drives.site, '/a.txt', version))).text())
    return { isRight: texts.join('') === '0123456789'.repeat(5), open: drives.site.core.sessions.length - before }
  })
  assert.ok(kept.isRight)
  assert.ok(kept.open < 80, `${kept.open} sessions are open`)
})

test('documents of a hostile drive get nothing of the application, nor of other drives', async (t) => {
  const { url } = await servePackage(t, { '/sw.js': WORKER, '/api': { type: 'text/plain', body: 'of the application' } })
  const context = await startBrowser(t)
  const { page } = await openPage(context, url)
  await page.evaluate(() => {
    localStorage.setItem('secret', 'key')
    document.cookie = 'secret=key'
  })
  const { secret } = await page.evaluate(serve, { secret: { '/mine.txt': 'private' } })
  const attack = (address) => `
    const results = {}
    const attempts = {
      localStorage: () => localStorage.getItem('secret'),
      sessionStorage: () => sessionStorage.length,
      cookie: () => document.cookie || Promise.reject(new Error('none')),
      indexedDB: () => new Promise((resolve, reject) => { const r = indexedDB.open('hypertab:app'); r.onsuccess = () => resolve('open'); r.onerror = () => reject(r.error) }),
      caches: () => caches.open('hypertab-service-worker'),
      opfs: () => navigator.storage.getDirectory(),
      locks: () => navigator.locks.query(),
      serviceWorker: () => navigator.serviceWorker.getRegistrations(),
      channel: () => new Promise((resolve, reject) => { const c = new BroadcastChannel('hypertab-store:indexed-db:hypertab:app'); c.onmessage = ({ data }) => resolve(data); c.postMessage({ say: 'ask', from: 'evil' }); setTimeout(() => reject(new Error('silence')), 500) }),
      application: () => fetch('${url}/api').then((r) => r.ok ? r.text() : Promise.reject(new Error(r.status))),
      xhr: () => new Promise((resolve, reject) => { const x = new XMLHttpRequest(); x.open('GET', '${url}/api'); x.onload = () => resolve(x.responseText); x.onerror = () => reject(new Error('blocked')); x.send() }),
      otherDriveByMessage: () => new Promise((resolve, reject) => { const { port1, port2 } = new MessageChannel(); port1.onmessage = ({ data }) => data.bytes ? resolve(data) : reject(new Error('none')); parent.postMessage({ hypertab: 'file', key: '${address.slice(0, -1).split('/').at(-1)}', version: null, path: '/mine.txt', token: '0'.repeat(64) }, '*', [port2]); setTimeout(() => reject(new Error('silence')), 500) }),
      otherDrive: () => new Promise((resolve, reject) => { const f = document.createElement('iframe'); f.src = '${address}mine.txt'; addEventListener('message', ({ data }) => resolve(data)); f.onload = () => setTimeout(() => { try { resolve(f.contentDocument.body.innerText) } catch (e) { reject(e) } }, 300); document.body.append(f) }),
      otherDriveByFetch: () => fetch('${address}mine.txt').then((r) => r.ok ? r.text() : Promise.reject(new Error(r.status))),
      parent: () => parent === window ? Promise.reject(new Error('none')) : parent.document.title,
      opener: () => window.opener ? opener.document.title : Promise.reject(new Error('none')),
      credentialless: () => new Promise((resolve, reject) => { const f = document.createElement('iframe'); f.credentialless = true; f.src = '${address}mine.txt'; f.onload = () => setTimeout(() => { try { resolve(f.contentDocument.body.innerText) } catch (e) { reject(e) } }, 300); document.body.append(f) }),
      base: () => { const b = document.createElement('base'); b.href = '${url}/'; document.head.prepend(b); return document.baseURI === b.href ? fetch('api').then((r) => r.ok ? r.text() : Promise.reject(new Error(r.status))) : Promise.reject(new Error('none')) },
      domain: () => { document.domain = location.hostname; return document.domain },
      register: () => navigator.serviceWorker.register('/sw.js'),
      sharedWorker: () => new Promise((resolve, reject) => { const w = new SharedWorker('${url}/sw.js'); w.onerror = () => reject(new Error('refused')); setTimeout(() => resolve('runs'), 400) }),
      worker: () => new Promise((resolve, reject) => { const w = new Worker('${address}mine.txt'); w.onerror = () => reject(new Error('refused')); setTimeout(() => reject(new Error('silence')), 400) })
    }
    for (const [name, attempt] of Object.entries(attempts)) {
      try { results[name] = 'GOT ' + JSON.stringify(await attempt() ?? null) } catch (error) { results[name] = 'refused' }
    }
    for (const other of [window.opener, parent === window ? null : parent]) {
      try { other.location.href = '${url}/api' } catch {}
    }
    results.origin = origin
    document.title = JSON.stringify(results)`
  const { evil } = await page.evaluate(async ([files]) => {
    const { Hyperdrive } = await import('/hypertab/browser/index.js')
    const drive = new Hyperdrive(store.namespace('evil'))
    await drive.ready()
    for (const [path, text] of Object.entries(files)) await drive.put(path, new TextEncoder().encode(text))
    await server.close()
    const { serveDrives } = await import('/hypertab/browser/service-worker.js')
    const byId = new Map([drive, drives.secret].map((drive) => [drive.id, drive]))
    globalThis.server = serveDrives((key) => byId.get(key) ?? null)
    return { evil: await server.address(drive, '/') }
  }, [{
    '/index.html': `<!doctype html><html><head></head><body><script type="module">${attack(secret)}</script></body></html>`,
    '/picture.svg': '<svg xmlns="http://www.w3.org/2000/svg"><script>document.documentElement.setAttribute("ran", "yes")</script></svg>',
    '/static.html': '<!doctype html><title>static</title><meta http-equiv="refresh" content="60"><img src=x><iframe src="/api"></iframe>',
    '/run.js': 'globalThis.ran = true'
  }])

  const { page: visit } = await openPage(context, `${evil}index.html`)
  await visit.waitForFunction(() => document.title.startsWith('{'))
  const { origin, ...results } = JSON.parse(await visit.title())
  assert.equal(origin, 'null')
  assert.deepEqual(Object.entries(results).filter(([, result]) => result !== 'refused'), [])
  // Opened by the application, it has no way back to it.
  const opened = context.waitForEvent('page')
  await page.evaluate((address) => { window.open(address) }, `${evil}index.html`)
  const opener = await opened
  await opener.waitForFunction(() => document.title.startsWith('{'))
  const { origin: openedOrigin, ...fromOpener } = JSON.parse(await opener.title())
  assert.equal(openedOrigin, 'null')
  assert.deepEqual(Object.entries(fromOpener).filter(([, result]) => result !== 'refused'), [])
  // In a frame of the application as well.
  await page.evaluate((address) => {
    const frame = document.createElement('iframe')
    frame.src = address
    document.body.append(frame)
  }, `${evil}index.html`)
  const frame = await (await page.waitForSelector('iframe')).contentFrame()
  await frame.waitForFunction(() => document.title.startsWith('{'))
  const { origin: framed, ...fromFrame } = JSON.parse(await frame.title())
  assert.equal(framed, 'null')
  assert.deepEqual(Object.entries(fromFrame).filter(([, result]) => result !== 'refused'), [])
  const { page: still } = await openPage(context, `${evil}static.html`)
  assert.ok(still.frames().every((frame) => !frame.url().endsWith('/api')))
  const { page: picture } = await openPage(context, `${evil}picture.svg`)
  assert.equal(await picture.evaluate(() => document.documentElement.getAttribute('ran')), null)
  // A script of a drive is none for the application.
  const ran = await page.evaluate(async (address) => {
    const failed = await import(address).then(() => 'ran', () => 'refused')
    const script = document.createElement('script')
    script.src = address
    await new Promise((resolve) => { script.onload = script.onerror = resolve; document.head.append(script) })
    return [failed, globalThis.ran ?? null]
  }, `${evil}run.js`)
  assert.deepEqual(ran, ['refused', null])
  assert.equal(page.url(), `${url}/`)
})

test('what a hostile drive says is something else runs nothing, and its links take no tab of the application', async (t) => {
  const { url } = await servePackage(t, { '/sw.js': WORKER, '/steal.html': { type: 'text/html', body: '<title>of the application</title>' } })
  const context = await startBrowser(t)
  const { page } = await openPage(context, url)
  await page.evaluate(() => { window.name = 'application' })
  const steal = (name) => `try { localStorage.setItem('${name}', 'stolen') } catch {}; document.title = 'ran'`
  const html = (name) => `<!doctype html><html><head></head><body>${name}<script>${steal(name)}</script></body></html>`
  const { evil } = await page.evaluate(serve, {
    evil: {
      '/text.txt': html('text'),
      '/picture.png': html('picture'),
      '/film.mp4': html('film'),
      '/data.json': html('data'),
      '/sheet.css': html('sheet'),
      '/table.csv': `\u0000${html('table')}`,
      '/feed.xml': `<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"><body><script>${steal('feed')}</script></body></html>`,
      '/sheet.xml': '<?xml version="1.0"?><?xml-stylesheet type="text/xsl" href="sheet.xsl"?><a/>',
      '/sheet.xsl': `<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform"><xsl:template match="/"><html><script>${steal('xsl')}</script></html></xsl:template></xsl:stylesheet>`,
      '/page.xhtml': `<html xmlns="http://www.w3.org/1999/xhtml"><head/><body><script>${steal('xhtml')}</script></body></html>`,
      '/both.svg': `<svg xmlns="http://www.w3.org/2000/svg" onload="${steal('svg').replaceAll('"', "'")}"><foreignObject><iframe xmlns="http://www.w3.org/1999/xhtml" srcdoc="&lt;script&gt;${steal('svg')}&lt;/script&gt;"/></foreignObject></svg>`,
      // What the look for scripts does not see.
      '/hidden.html': `<!doctype html><base href="${url}/"><svg/onload="${steal('onload')}"></svg><iframe srcdoc="&lt;script&gt;${steal('srcdoc')}&lt;/script&gt;"></iframe><a href="java&#x09;script:${steal('link')}">link</a><a ping="${url}/steal.html" href="#">ping</a>`,
      '/utf16.html': [0xff, 0xfe, ...Buffer.from(html('utf16'), 'utf16le')],
      '/links.html': '<!doctype html><a id=named target=application href="/steal.html" rel=opener>named</a> <a id=top target=_top href="/steal.html">top</a>'
    }
  })
  const names = ['text.txt', 'picture.png', 'film.mp4', 'data.json', 'sheet.css', 'table.csv', 'feed.xml', 'sheet.xml', 'page.xhtml', 'both.svg', 'hidden.html', 'utf16.html']

  // In frames and objects of the application, and some in a tab.
  await page.evaluate(async (addresses) => {
    await Promise.all(addresses.flatMap((address) => ['iframe', 'object'].map(async (kind) => {
      const element = document.createElement(kind)
      element[kind === 'object' ? 'data' : 'src'] = address
      const loaded = new Promise((resolve) => { element.onload = element.onerror = resolve })
      document.body.append(element)
      await Promise.race([loaded, new Promise((resolve) => { setTimeout(resolve, 1000) })])
    })))
  }, names.map((name) => `${evil}${name}`))
  for (const name of ['text.txt', 'feed.xml', 'hidden.html', 'utf16.html']) {
    const tab = await context.newPage()
    await tab.goto(`${evil}${name}`)
    if (name === 'hidden.html') {
      await tab.getByText('link').click()
      assert.equal(await tab.evaluate(() => document.baseURI), `${evil}${name}`)
    }
    await tab.close()
  }
  assert.deepEqual(await page.evaluate(() => Object.keys(localStorage)), [])

  const opened = context.waitForEvent('page')
  await page.evaluate((address) => { window.open(address) }, `${evil}links.html`)
  const links = await opened
  await links.locator('#named').click()
  await links.waitForTimeout(300)
  assert.equal(page.url(), `${url}/`)
  const { page: around } = await openPage(context, url)
  await around.evaluate((address) => {
    const frame = document.createElement('iframe')
    frame.src = address
    document.body.append(frame)
  }, `${evil}links.html`)
  await around.frameLocator('iframe').locator('#top').click()
  await around.waitForTimeout(200)
  assert.deepEqual([page, around].map((tab) => tab.url()), [`${url}/`, `${url}/`])
})

test('a page that is isolated from other origins shows what drives hold', async (t) => {
  const isolated = { type: 'text/html', body: '<!doctype html><link rel=icon href=data:,>', headers: { 'cross-origin-opener-policy': 'same-origin', 'cross-origin-embedder-policy': 'require-corp' } }
  const { url } = await servePackage(t, { '/sw.js': WORKER, '/isolated.html': isolated })
  const { page, problems } = await openPage(await startBrowser(t), `${url}/isolated.html`)
  const { site } = await page.evaluate(serve, {
    site: {
      '/static.html': '<!doctype html><title>static</title><img src="a.svg">',
      '/scripts.html': '<!doctype html><html><head></head><body><img src="a.svg"><script>onload = () => { document.title = String(document.images[0].naturalWidth) }</script></body></html>',
      '/a.svg': '<svg xmlns="http://www.w3.org/2000/svg" width="7" height="7"/>'
    }
  })

  assert.equal(await page.evaluate(() => crossOriginIsolated), true)
  const shown = []
  for (const name of ['static.html', 'scripts.html', 'a.svg']) {
    await page.evaluate((address) => {
      document.body.innerHTML = ''
      const frame = document.createElement(address.endsWith('.svg') ? 'img' : 'iframe')
      return new Promise((resolve) => {
        frame.onload = frame.onerror = resolve
        frame.src = address
        document.body.append(frame)
      })
    }, `${site}${name}`)
    const frame = await (await page.$('iframe'))?.contentFrame()
    shown.push(frame ? await frame.evaluate(() => [document.title, document.images[0]?.naturalWidth]) : await page.evaluate(() => document.images[0].naturalWidth))
  }
  assert.deepEqual(shown, [['static', 7], ['7', 7], 7])
  assert.deepEqual(problems, [])
})
