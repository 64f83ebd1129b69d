// Tabs of one browser that all write to one log, while some of them end: what they were answered has to be true.

import assert from 'node:assert/strict'

import { openPage, servePackage, startBrowser } from './browser.mjs'

/** Answers that a tab gets before it counts as going on: some were on their way to this process. */
const GOES_ON = 10

export class BusyTabs {
  /** The length that each text was answered with. */
  answered = new Map()
  #names = new Map()
  #context
  #url
  #begin

  /** `begin(page, name)` makes a new tab write texts `name:…`, and call `acknowledge(text, length)` for each that is answered. */
  static async start (t, begin) {
    const tabs = new BusyTabs()
    tabs.#begin = begin
    tabs.#url = (await servePackage(t)).url
    tabs.#context = await startBrowser(t, { isOwn: true })
    await tabs.#context.exposeFunction('acknowledge', (text, length) => { tabs.answered.set(text, length) })
    return tabs
  }

  async open () {
    const { page } = await openPage(this.#context, this.#url)
    const name = `tab${this.#names.size}`
    this.#names.set(page, name)
    await this.#begin(page, name)
    return page
  }

  async openAll (count) {
    const pages = []
    for (let i = 0; i < count; i++) pages.push(await this.open())
    return pages
  }

  /** Waits until all of these go on writing; `describe` runs on each of them when they do not. */
  async goOn (pages, patience, describe) {
    const countOf = (page) => [...this.answered.keys()].filter((text) => text.startsWith(`${this.#names.get(page)}:`)).length
    const start = performance.now()
    const counts = pages.map(countOf)
    while (pages.some((page, at) => countOf(page) < counts[at] + GOES_ON)) {
      await new Promise((resolve) => { setTimeout(resolve, 5) })
      if (performance.now() - start < patience) continue
      assert.fail(`nobody took the store over: ${JSON.stringify(await Promise.all(pages.map((page) => page.evaluate(describe))))}`)
    }
    return performance.now() - start
  }

  /** Everything that was answered is where it was said to be, nothing is there twice, and all tabs see the same. */
  check (contents) {
    const places = new Map()
    for (const [index, text] of contents[0].entries()) {
      assert.ok(text !== null && !places.has(text), `${text} is there twice`)
      places.set(text, index)
    }
    for (const [text, length] of this.answered) assert.equal(places.get(text), length - 1, `${text} was answered with ${length}`)
    for (const other of contents) assert.deepEqual(other, contents[0])
    assert.ok(this.answered.size > 20)
    return `${this.answered.size} answered, ${contents[0].length} stored`
  }
}
