// Rooms on the demo page: two browsers and a member in Node that is made of upstream's packages.

import assert from 'node:assert/strict'
import test from 'node:test'
import { setTimeout } from 'node:timers/promises'

import { openPage, startBrowser } from './support/browser.mjs'
import { PATIENCE_MS, pictures, startDemo, startDemoRelay, startPage } from './support/demo.mjs'
import { joinRoom } from './support/room-peer.mjs'
import { waitForWork } from './support/works.mjs'

test('two browsers and a Node peer talk and share a list; what is written offline arrives, also from somebody who has left', async (t) => {
  const { bootstrap, server, context, page: ada, problems } = await startDemo(t)
  await ada.getByTestId('tab-room').click()
  await pictures(ada, 'rooms')
  await enterName(ada, () => create(ada, 'Summer house'), 'Ada')
  await waitForWork(ada, 'room', 'alone')
  await pictures(ada, 'room-alone')
  const link = await linkOf(ada)
  assert.match(link, /#\/room\/[a-z0-9]{52}\/Summer%20house$/)
  await pictures(ada, 'room-qr')
  await ada.getByTestId('qr-close').click()

  const otherContext = await startBrowser(t)
  const { page: bob, problems: bobsProblems } = await openPage(otherContext, server.url)
  await bob.getByTestId('tab-room').click()
  await enterName(bob, () => join(bob, link), 'Bob')
  await waitForWork(bob, 'room', 'live')
  await waitForWork(ada, 'room', 'live')
  await say(ada, 'Who brings what?')
  await said(bob, 'Who brings what?')
  await bob.getByTestId('message').pressSequentially('I brin')
  await ada.getByTestId('typing').getByText('Bob is writing…').waitFor({ timeout: PATIENCE_MS })
  await say(bob, 'I bring the tent')
  await said(ada, 'I bring the tent')
  await add(ada, 'tent')
  await add(bob, 'stove')
  await item(ada, 'stove').waitFor()
  await item(bob, 'tent').getByTestId('item-done').check()
  await item(ada, 'tent').and(ada.locator('[data-done=true]')).waitFor()

  // Two browsers find a way without the relay.
  await ada.getByTestId('tab-network').click()
  await ada.getByTestId('connection').filter({ hasText: 'direct' }).waitFor({ timeout: PATIENCE_MS })
  const direct = ada.getByTestId('connection').filter({ hasText: 'direct' })
  assert.match(await direct.getByTestId('connection-way').textContent(), /the browsers found each other/)
  await direct.getByTestId('connection-round-trip').getByText(/^[\d.]+ ms$/).waitFor()
  await pictures(ada, 'network-direct')

  // The direct way is cut: the same connection goes on through the relay, and finds another one.
  await direct.getByTestId('connection-cut').click()
  await ada.getByTestId('connection-way').filter({ hasText: /^relay .*the direct way broke|a direct way is being looked for/ }).waitFor()
  await say(bob, 'still here')
  await direct.waitFor({ timeout: PATIENCE_MS })
  await ada.goBack()
  await said(ada, 'still here')

  // The third one comes late and gets everything; its own writing is everybody's.
  const eve = await joinRoom(t, bootstrap, link.split('/').at(-2), 'Eve')
  await eventually(async () => (await eve.said()).length === 3)
  assert.deepEqual(await eve.said(), ['Ada: Who brings what?', 'Bob: I bring the tent', 'Bob: still here'])
  await eve.write({ op: 'say', text: 'I am in Node' })
  const water = await eve.write({ op: 'add', text: 'water' })
  await said(ada, 'I am in Node')
  await said(bob, 'I am in Node')
  await item(bob, 'water').waitFor()
  await eventually(async () => [...eve.present.values()].map(({ name }) => name).sort().join() === 'Ada,Bob')
  await person(ada, 'Eve', 'here').waitFor({ timeout: PATIENCE_MS })
  await pictures(ada, 'room-live')
  assert.equal(eve.refused, 0)

  // Bob loses the network and goes on writing; Ada changes what he changes.
  await otherContext.setOffline(true)
  await bob.evaluate(() => { window.dispatchEvent(new Event('offline')) })
  await bob.getByTestId('tab-network').click()
  await bob.getByTestId('relay-switch').click()
  await bob.goBack()
  await waitForWork(bob, 'room', 'offline', 'relay-off')
  // Nothing of his gets out any more: the relay notices by the pings that he does not answer, after 45 seconds.
  await person(ada, 'Bob', 'away').waitFor({ timeout: 2 * PATIENCE_MS })
  await say(bob, 'written on the train')
  await item(bob, 'water').getByTestId('item-edit').click()
  await bob.getByTestId('item-text').fill('water, ten litres')
  await bob.getByTestId('item-save').click()
  await item(bob, 'stove').getByTestId('item-remove').click()
  await item(bob, 'stove').waitFor({ state: 'detached' })
  await pictures(bob, 'room-offline')
  await say(ada, 'see you there')
  await ada.getByTestId('items').getByText('stove').waitFor()
  await eve.write({ op: 'check', item: water, isDone: true })

  await otherContext.setOffline(false)
  await bob.getByTestId('tab-network').click()
  await bob.getByTestId('relay-switch').click()
  await bob.goBack()
  await said(bob, 'see you there')
  await said(ada, 'written on the train')
  await item(ada, 'stove').waitFor({ state: 'detached' })
  await item(bob, 'water, ten litres').and(bob.locator('[data-done=true]')).waitFor({ timeout: PATIENCE_MS })
  assert.deepEqual(await talk(ada), await talk(bob))
  await eventually(async () => (await eve.said()).length === 6)
  assert.deepEqual((await eve.said()).map((line) => line.replace(/^\w+: /, '')), await talk(ada))
  assert.deepEqual(problems, [])
  assert.deepEqual(bobsProblems.filter((problem) => !/ERR_INTERNET_DISCONNECTED/.test(problem)), [])

  // Ada is gone. A fourth has her words from the others, and she finds everything as it was.
  await context.close()
  const { page: dan } = await openPage(await startBrowser(t), link)
  await said(dan, 'Who brings what?')
  assert.deepEqual(await talk(dan), await talk(bob))
  await person(dan, 'Ada', 'away').waitFor()

  await bob.reload()
  await said(bob, 'written on the train')
  await item(bob, 'tent').waitFor()
  await bob.getByTestId('tab-room').click()
  assert.match(await bob.getByTestId('known-room').textContent(), /Summer house.*6 messages.*joined/)
  await bob.getByTestId('known-room-remove').click()
  await bob.getByTestId('confirm-yes').click()
  await bob.getByTestId('known-rooms-empty').waitFor()
})

test('two browsers without a network at the same time: both write and change the same things, and are of one mind when they are back', async (t) => {
  const { server, context, page: ada, problems } = await startDemo(t)
  await enterName(ada, () => create(ada, 'Cabin'), 'Ada')
  const link = await linkOf(ada)
  await ada.getByTestId('qr-close').click()
  const otherContext = await startBrowser(t)
  const { page: bob } = await openPage(otherContext, server.url)
  await bob.getByTestId('tab-room').click()
  await enterName(bob, () => join(bob, link), 'Bob')
  for (const text of ['bread', 'milk', 'salt']) await add(ada, text)
  await item(bob, 'salt').waitFor({ timeout: PATIENCE_MS })
  for (const page of [ada, bob]) await page.evaluate(async () => { await navigator.serviceWorker.ready })

  const both = [[ada, context], [bob, otherContext]]
  for (const [page, browser] of both) {
    await browser.setOffline(true)
    await page.getByTestId('tab-network').click()
    await page.getByTestId('relay-switch').click()
    await page.goBack()
    await waitForWork(page, 'room', 'offline', 'relay-off')
  }
  await say(ada, 'from the valley')
  await say(bob, 'from the hill')
  await add(ada, 'candles')
  await add(bob, 'matches')
  await change(ada, 'milk', 'oat milk')
  await change(bob, 'milk', 'two litres of milk')
  await item(ada, 'salt').getByTestId('item-remove').click()
  await item(bob, 'salt').getByTestId('item-done').check()
  await item(bob, 'bread').getByTestId('item-done').check()
  // One of them is closed and opened meanwhile, without a network.
  await bob.reload()
  await said(bob, 'from the hill')

  for (const [page, browser] of both) {
    await browser.setOffline(false)
    // Loaded anew, a page switches its relay on by itself.
    await page.getByTestId('tab-network').click()
    await page.getByTestId('network-status').waitFor()
    if (await page.locator('[data-testid=network-status][data-state=off]').isVisible()) await page.getByTestId('relay-switch').click()
    await page.goBack()
  }
  for (const page of [ada, bob]) {
    await said(page, 'from the valley')
    await said(page, 'from the hill')
    for (const text of ['candles', 'matches']) await item(page, text).waitFor({ timeout: PATIENCE_MS })
    await item(page, 'salt').waitFor({ state: 'detached' })
    await item(page, 'bread').and(page.locator('[data-done=true]')).waitFor()
  }
  const list = (page) => page.getByTestId('item').evaluateAll((items) => items.map((item) => `${item.textContent} ${item.dataset.done}`))
  await eventually(async () => (await list(ada)).join() === (await list(bob)).join())
  assert.equal((await list(ada)).filter((text) => /milk/.test(text)).length, 1)
  assert.deepEqual(await talk(ada), await talk(bob))
  assert.deepEqual(problems.filter((problem) => !/ERR_INTERNET_DISCONNECTED/.test(problem)), [])
  await pictures(ada, 'room-merged')
})

test('a room by its name; who does not know its secret gets nothing, and what is no room says so', async (t) => {
  const { bootstrap, server, page, problems } = await startDemo(t)
  await page.getByTestId('tab-room').click()
  for (const [text, words] of [['', /Paste the key/], ['https://example.org/', /has \d+ characters/], [`x#/room/${'y'.repeat(20)}`, /has 20 characters/]]) {
    await join(page, text)
    await page.locator('[data-testid=room-key-help][data-tone=bad]').waitFor()
    assert.match(await page.getByTestId('room-key-help').textContent(), words)
  }
  await join(page, 'Garden Club')
  await page.getByTestId('room-title').getByText('Garden Club').waitFor()
  await say(page, 'open to all')
  await said(page, 'open to all')
  const id = await page.getByTestId('room-key').textContent()

  const { page: other } = await openPage(await startBrowser(t), server.url)
  await other.getByTestId('tab-room').click()
  await join(other, '  garden   CLUB ')
  await said(other, 'open to all')

  // It knows under which name members meet, but has another secret.
  const liar = await joinRoom(t, bootstrap, id, 'Liar', { isMember: false })
  while (liar.swarm.connections.size === 0) await setTimeout(50)
  await liar.swarm.flush()
  await eventually(async () => liar.lines.size === 0)
  await setTimeout(1000)
  assert.equal(liar.cores.size, 1)
  assert.equal(await page.getByTestId('person').count(), 2)
  assert.deepEqual(problems, [])
})

test('a room without a relay, and one that is open in another tab', async (t) => {
  const { bootstrap, relay, context, server, page } = await startDemo(t)
  await create(page, 'Alone')
  await waitForWork(page, 'room', 'alone')
  await relay.process.kill()
  await waitForWork(page, 'room', 'relay-gone')
  await say(page, 'anyway')
  await said(page, 'anyway')
  await pictures(page, 'room-relay-gone')

  const { page: second } = await openPage(context, page.url())
  await said(second, 'anyway')
  await page.close()
  await say(second, 'in another tab')
  await said(second, 'in another tab')
  await startDemoRelay(t, bootstrap, { listen: new URL(relay.url).host })
  await waitForWork(second, 'room', 'alone')
  assert.ok(server.url)
})

test('a room from the keyboard alone', async (t) => {
  const { page } = await startPage(t, { relayUrl: 'ws://127.0.0.1:9' })
  await page.goto(`${page.url().replace(/#.*/, '')}#/room`)
  await page.getByTestId('room-name-input').focus()
  await page.keyboard.type('Keys only')
  await page.keyboard.press('Enter')
  await page.getByTestId('room-title').getByText('Keys only').waitFor()
  await page.getByTestId('message').and(page.locator(':enabled')).focus()
  await page.keyboard.type('hello')
  await page.keyboard.press('Enter')
  await said(page, 'hello')
  await page.getByTestId('new-item').focus()
  for (const text of ['one', 'two']) {
    await page.keyboard.type(text)
    await page.keyboard.press('Enter')
    await item(page, text).waitFor()
  }
  await page.keyboard.press('Shift+Tab')
  await page.keyboard.press('Shift+Tab')
  await page.keyboard.press('Enter')
  await page.keyboard.type('two and a half')
  await page.keyboard.press('Enter')
  await item(page, 'two and a half').waitFor()
  await page.keyboard.press('Space')
  await item(page, 'two and a half').and(page.locator('[data-done=true]')).waitFor()
  assert.equal(await page.evaluate(() => document.activeElement?.getAttribute('type')), 'checkbox')
})

async function create (page, name) {
  await page.getByTestId('tab-room').click()
  await page.getByTestId('room-name-input').fill(name)
  await page.getByTestId('create-room').click()
  await page.getByTestId('room-title').getByText(name, { exact: true }).waitFor()
}

async function join (page, text) {
  await page.getByTestId('room-key-input').fill(text)
  await page.getByTestId('open-room').click()
}

async function enterName (page, enter, name) {
  await enter()
  await page.getByTestId('nickname').fill(name)
  await page.getByTestId('nickname').press('Enter')
}

/** The link as its QR code says it; the code stays open. */
async function linkOf (page) {
  await page.getByTestId('room-qr').click()
  await page.getByTestId('qr-code').waitFor()
  return await page.getByTestId('qr-link').textContent()
}

async function say (page, text) {
  await page.getByTestId('message').fill(text)
  await page.getByTestId('message').press('Enter')
}

async function said (page, text) {
  try {
    await page.getByTestId('message-text').getByText(text, { exact: true }).waitFor({ timeout: PATIENCE_MS })
  } catch (error) {
    throw new Error(`“${text}” is not there: ${await page.getByTestId('room-status').textContent()}, ${JSON.stringify(await talk(page))}, ${await page.getByTestId('people').textContent()}\n${error.message}`)
  }
}

const talk = (page) => page.getByTestId('message-text').allTextContents()
const item = (page, text) => page.getByTestId('item').filter({ has: page.getByText(text, { exact: true }) })
const person = (page, name, state) => page.getByTestId('person').filter({ hasText: new RegExp(`${name}${state}$`) })

async function add (page, text) {
  await page.getByTestId('new-item').fill(text)
  await page.getByTestId('add-item').click()
  await item(page, text).waitFor({ timeout: PATIENCE_MS })
}

async function change (page, from, to) {
  await item(page, from).getByTestId('item-edit').click()
  await page.getByTestId('item-text').fill(to)
  await page.getByTestId('item-save').click()
  await item(page, to).waitFor()
}

async function eventually (isSo) {
  const end = Date.now() + PATIENCE_MS
  while (!await isSo()) {
    assert.ok(Date.now() < end, `it does not come to ${isSo}`)
    await setTimeout(100)
  }
}
