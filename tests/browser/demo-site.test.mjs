// Drives as web sites on the demo page.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'
import test from 'node:test'

import { defer } from '../interop/support/cleanup.mjs'
import { temporaryFolder } from '../interop/support/folder.mjs'
import { PATIENCE_MS, pictures, startDemo, startPage } from './support/demo.mjs'
import { openWork, startDrive, waitForWork } from './support/works.mjs'

const SQUARE = '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="30"><rect width="40" height="30" fill="#2a8"/></svg>'

test('a site of a Node peer: its pages, styles and pictures, live when it is published, and offline', async (t) => {
  const { bootstrap, relay, server, context, page, problems } = await startDemo(t)
  await page.evaluate(async () => { await navigator.serviceWorker.ready })
  const { drive } = await startDrive(t, bootstrap)
  await publish(drive, {
    '/index.html': '<!doctype html><html lang=en><title>Garden</title><link rel=stylesheet href=style.css><h1>Garden</h1><img id=a src=pictures/one.svg alt=one><img id=b src=/pictures/one.svg alt=one><p><a id=about href=about>About</a> <a id=top href=/about/>About, from the top</a></p>',
    '/style.css': 'h1 { color: rgb(1, 2, 3) } body { background: url(/pictures/one.svg) }',
    '/pictures/one.svg': SQUARE,
    '/about/index.html': '<!doctype html><title>About</title><h1>About the garden</h1><a id=home href=..>Home</a>'
  })
  await openWork(page, 'site', drive.id)
  const site = page.frameLocator('[data-testid=site-frame]')
  await site.getByRole('heading', { name: 'Garden', exact: true }).waitFor({ timeout: PATIENCE_MS })
  assert.equal(await site.locator('h1').evaluate((heading) => getComputedStyle(heading).color), 'rgb(1, 2, 3)')
  for (const id of ['a', 'b']) await site.locator(`#${id}`).evaluate(async (image) => { await image.decode() })
  await pictures(page, 'site')

  for (const link of ['about', 'top']) {
    await site.locator(`#${link}`).click()
    await site.getByRole('heading', { name: 'About the garden' }).waitFor()
    await page.getByTestId('site-address').getByText(`hyper://${drive.id}/about/`, { exact: true }).waitFor()
    assert.match(page.url(), new RegExp(`#/site/${drive.id}/about/$`))
    await site.locator('#home').click()
    await site.getByRole('heading', { name: 'Garden', exact: true }).waitFor()
  }

  await drive.put('/index.html', Buffer.from('<!doctype html><title>Garden</title><h1>Garden in spring</h1>'))
  await site.getByRole('heading', { name: 'Garden in spring' }).waitFor({ timeout: PATIENCE_MS })
  // What the test itself runs in the frame is refused too.
  assert.deepEqual(problems.filter((problem) => !/Blocked script execution/.test(problem)), [])

  await drive.close()
  await relay.process.kill()
  await context.setOffline(true)
  await server.close()
  await page.reload()
  await site.getByRole('heading', { name: 'Garden in spring' }).waitFor({ timeout: PATIENCE_MS })
  await pictures(page, 'site-offline')
  await page.getByTestId('tab-site').click()
  await page.getByTestId('known-site').waitFor()
})

test('a site can do nothing to the page: its scripts have an origin of their own, no requests to others, no way out of its frame', async (t) => {
  const { bootstrap, server, context, page } = await startDemo(t)
  await page.evaluate(async () => { await navigator.serviceWorker.ready })
  await page.evaluate(() => { localStorage.setItem('secret', 'mine') })
  const { drive } = await startDrive(t, bootstrap)
  const elsewhere = []
  const other = createServer((request, response) => { elsewhere.push(request.url); response.end() })
  other.listen(0, '127.0.0.1')
  await once(other, 'listening')
  defer(t, () => { other.closeAllConnections(); other.close() })
  const otherUrl = `http://127.0.0.1:${other.address().port}`
  const bad = 'parent.document.title = document.title = localStorage.getItem("secret")'
  await publish(drive, {
    '/index.html': `<!doctype html><title>Bad</title><h1>Bad</h1><script>try { ${bad} } catch (error) { document.querySelector('h1').textContent = error.name + ' ' + origin }</script><script src=evil.js></script><img src=x onerror='${bad}'>
      <iframe srcdoc="<script>${bad.replaceAll('"', '&quot;')}</script>"></iframe><img id=other src="${otherUrl}/icon.svg"><a id=script href='javascript:${bad}'>script</a>
      <a id=out target=_top href="/icon.svg">out</a><form action="${otherUrl}/x" method=post><button>send</button></form><a id=away href="${otherUrl}/">away</a><svg><script>${bad}</script></svg>`,
    '/quiet.html': `<!doctype html><title>Quiet</title><h1>Quiet</h1><img src="${otherUrl}/quiet.svg">`,
    '/evil.js': `${bad}; fetch('${otherUrl}/fetched')`,
    '/evil.svg': `<svg xmlns="http://www.w3.org/2000/svg"><script>${bad}</script></svg>`
  })
  await openWork(page, 'site', drive.id)
  const site = page.frameLocator('[data-testid=site-frame]')
  // The script ran, and was told no.
  await site.getByRole('heading', { name: 'SecurityError null' }).waitFor({ timeout: PATIENCE_MS })
  for (const action of ['#script', '#out', 'button', '#away']) {
    await page.getByTestId('site-home').click()
    await site.getByRole('heading', { name: 'SecurityError null' }).waitFor()
    await site.locator(action).click()
    await page.waitForTimeout(300)
    assert.doesNotMatch(await page.title(), /mine/)
    assert.match(page.url(), new RegExp(`^${server.url}/#/site/`), action)
  }
  await page.goto(`${server.url}/#/site/${drive.id}/quiet.html`)
  await site.getByRole('heading', { name: 'Quiet' }).waitFor({ timeout: PATIENCE_MS })
  await page.waitForTimeout(300)
  assert.deepEqual(elsewhere, [])

  // Nor by itself, in a tab of its own.
  const alone = await context.newPage()
  for (const path of ['/', '/evil.svg']) {
    const response = await alone.goto(`${server.url}/hyper/${drive.id}${path}`)
    assert.match(response.headers()['content-security-policy'], /^sandbox/)
    await alone.waitForTimeout(200)
    assert.doesNotMatch(await alone.title(), /mine/)
  }
  // And what nobody has opened here is not fetched for an address.
  assert.equal((await alone.goto(`${server.url}/hyper/${'y'.repeat(52)}/`)).status(), 503)
  assert.equal((await alone.goto(`${server.url}/hyper/${drive.id}/nothing`)).status(), 404)
})

test('links of a site without scripts lead out of its frame into a new tab, never into that of the page', async (t) => {
  const { bootstrap, server, context, page } = await startDemo(t)
  await page.evaluate(async () => { await navigator.serviceWorker.ready })
  const { drive } = await startDrive(t, bootstrap)
  const other = createServer((request, response) => { response.end(request.headers['user-agent'] ? 'elsewhere' : '') })
  other.listen(0, '127.0.0.1')
  await once(other, 'listening')
  defer(t, () => { other.closeAllConnections(); other.close() })
  const elsewhere = `http://127.0.0.1:${other.address().port}/`
  const links = ['_top', '_parent', '_unfencedTop'].flatMap((target) => [[target, elsewhere], [target, 'next.html'], [target, `${server.url}/`]])
  await publish(drive, {
    '/index.html': `<!doctype html><title>Quiet</title><base target=_top><h1>Quiet</h1><a href="${elsewhere}">base</a>
      ${links.map(([target, href]) => `<p><a target=${target} href="${href}">link</a>`).join('')}
      <form action="${elsewhere}" target=_top><button>send</button></form><svg><a target=_top href="${elsewhere}"><text y=20>drawn</text></a></svg>
      <map name=m><area shape=rect coords=0,0,20,20 target=_top href="${elsewhere}"></map><img usemap=#m width=20 height=20 alt=area>
      <p><a id=inside target=_self href=next.html>inside</a> <a id=new target=_blank href="${elsewhere}">new tab</a>`,
    '/next.html': `<!doctype html><meta http-equiv=refresh content="0; url=${elsewhere}"><title>Next</title><h1>Next</h1><a target=_self href=./>back</a>`
  })
  await openWork(page, 'site', drive.id)
  const site = page.frameLocator('[data-testid=site-frame]')
  await site.getByRole('heading', { name: 'Quiet' }).waitFor({ timeout: PATIENCE_MS })
  const ways = await site.locator('a:not(#inside, #new), button, img').all()
  assert.equal(ways.length, links.length + 4)
  for (const way of ways) {
    await way.click()
    await page.waitForTimeout(150)
    assert.match(page.url(), new RegExp(`^${server.url}/#/site/`))
    await site.getByRole('heading', { name: 'Quiet' }).waitFor()
  }
  await site.locator('#inside').click()
  await site.getByRole('heading', { name: 'Next' }).waitFor()
  await page.waitForTimeout(300)
  await site.getByRole('heading', { name: 'Next' }).waitFor()
  await site.getByText('back').click()
  const opened = context.waitForEvent('page')
  await site.locator('#new').click()
  const tab = await opened
  await tab.getByText('elsewhere').waitFor()
  assert.equal(await tab.evaluate(() => { try { return opener === null } catch { return false } }), true)
})

test('a site with scripts runs in its frame, and asks for more of its drive', async (t) => {
  const { bootstrap, page, problems } = await startDemo(t)
  await page.evaluate(async () => { await navigator.serviceWorker.ready })
  const { drive } = await startDrive(t, bootstrap)
  await publish(drive, {
    '/index.html': '<!doctype html><title>Counter</title><link rel=stylesheet href=/style.css><h1>0</h1><button>more</button><script type=module src=counter.js></script>',
    '/style.css': 'h1 { color: rgb(1, 2, 3) }',
    '/counter.js': "import { step } from './step.js'\nconst { start } = await (await fetch('/start.json')).json()\nconst heading = document.querySelector('h1')\nheading.textContent = start\ndocument.querySelector('button').onclick = () => { heading.textContent = Number(heading.textContent) + step }",
    '/step.js': 'export const step = 5',
    '/start.json': '{ "start": 37 }'
  })
  await openWork(page, 'site', drive.id)
  const site = page.frameLocator('[data-testid=site-frame]')
  await site.getByRole('heading', { name: '37' }).waitFor({ timeout: PATIENCE_MS })
  assert.equal(await site.locator('h1').evaluate((heading) => getComputedStyle(heading).color), 'rgb(1, 2, 3)')
  await site.getByRole('button').click()
  await site.getByRole('heading', { name: '42' }).waitFor()
  assert.deepEqual(problems, [])

  await drive.put('/step.js', Buffer.from('export const step = 10'))
  await site.getByRole('heading', { name: '37' }).waitFor({ timeout: PATIENCE_MS })
  await site.getByRole('button').click()
  await site.getByRole('heading', { name: '47' }).waitFor()
})

test('a site of one’s own: a first page, a folder in its place, read by a Node peer; and a drive that is none', async (t) => {
  const { bootstrap, page, problems } = await startDemo(t)
  await page.evaluate(async () => { await navigator.serviceWorker.ready })
  await page.getByTestId('tab-site').click()
  await pictures(page, 'sites')
  await page.getByTestId('site-name-input').fill('Bees & <Birds>')
  await page.getByTestId('create-site').click()
  const site = page.frameLocator('[data-testid=site-frame]')
  await site.getByRole('heading', { name: 'Bees & <Birds>' }).waitFor({ timeout: PATIENCE_MS })
  await waitForWork(page, 'site', 'announced')
  await pictures(page, 'site-own')

  const folder = temporaryFolder(t)
  mkdirSync(join(folder, 'pictures'))
  writeFileSync(join(folder, 'index.html'), '<!doctype html><title>Bees</title><h1>Only bees</h1><img src=pictures/one.svg alt=one>')
  writeFileSync(join(folder, 'one.svg'), SQUARE)
  await page.getByTestId('site-add-files').setInputFiles([join(folder, 'index.html'), join(folder, 'one.svg')])
  await site.getByRole('heading', { name: 'Only bees' }).waitFor({ timeout: PATIENCE_MS })
  const { drive } = await startDrive(t, bootstrap, await page.getByTestId('site-key').textContent())
  while (!String(await drive.get('/index.html')).includes('Only bees')) await drive.update({ wait: true })
  assert.equal(String(await drive.get('/one.svg')), SQUARE)
  assert.deepEqual(problems.filter((problem) => !/Blocked script execution|404/.test(problem)), [])

  const { drive: other } = await startDrive(t, bootstrap)
  await other.put('/readme.txt', Buffer.from('no site'))
  await page.getByTestId('tab-site').click()
  await openWork(page, 'site', other.id)
  await page.getByTestId('site-note').getByText('it is no site').waitFor({ timeout: PATIENCE_MS })
  await pictures(page, 'site-none')
  await page.getByTestId('site-files').click()
  await page.locator('[data-name="readme.txt"]').waitFor()
})

test('a site that nobody has', async (t) => {
  const { page } = await startPage(t, { relayUrl: 'ws://127.0.0.1:9' })
  await openWork(page, 'site', 'ab'.repeat(32))
  await waitForWork(page, 'site', 'relay-unreachable')
  await page.getByTestId('site-note').getByText('appears here as soon as').waitFor()
  await pictures(page, 'site-unreachable')
})

async function publish (drive, files) {
  for (const [path, text] of Object.entries(files)) await drive.put(path, Buffer.from(text))
}
