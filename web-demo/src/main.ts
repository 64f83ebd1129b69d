// Starts the page and decides which view is shown.

import { Catalog } from './model/catalog.ts'
import type { Entry } from './model/catalog.ts'
import { loadConfig } from './model/config.ts'
import { formatKey, parseKey } from './model/key.ts'
import { Log } from './model/log.ts'
import { Network } from './model/network.ts'
import { sentence } from './model/problem.ts'
import { removeStore } from './model/store.ts'
import { relayWords } from './model/status.ts'
import { byId, setText, toast } from './view/dom.ts'
import { HomeView, nameOf } from './view/home.ts'
import { LogView } from './view/log.ts'
import { applyScheme, SettingsView } from './view/settings.ts'

applyScheme()

const catalog = new Catalog()
const network = new Network()
/** Logs that are open; they stay so when another view is shown, and go on replicating. */
const open = new Map<string, Log>()
let shown: Log | null = null

const settings = new SettingsView(() => network.start())
const home = new HomeView(catalog, { open: go, create, remove })
const view = new LogView({
  retry: () => { retry() },
  openSettings: () => settings.open(),
  goHome: () => go(''),
  remove: (log) => { remove(log.entry) }
})

byId('open-settings').addEventListener('click', () => settings.open())
byId('relay-chip').addEventListener('click', () => settings.open())
network.watch(render)
for (const event of ['online', 'offline']) addEventListener(event, render)
addEventListener('hashchange', () => { route(true) })
setInterval(() => {
  for (const log of open.values()) log.tick()
  if (network.relay.state === 'lost') render()
}, 1000)

render()
home.render()
route(false)
loadConfig().then(() => {
  network.start()
  home.offerSample()
})
if (import.meta.env.PROD && 'serviceWorker' in navigator) {
  navigator.serviceWorker.register(new URL('service-worker.js', document.baseURI)).catch(() => {})
}

function go (id: string): void {
  location.hash = `#/${id}`
}

// Shows what the address bar names: a log by its key, else the first view.
async function route (moveFocus: boolean): Promise<void> {
  const text = decodeURIComponent(location.hash.replace(/^#\/?/, ''))
  const id = idOf(text)
  if (text !== '' && id === null) toast('The address holds no valid key')
  const log = id === null ? null : open.get(id) ?? add(id)
  home.element.hidden = log !== null
  view.element.hidden = log === null
  shown = log
  view.show(log)
  document.title = log ? `${nameOf(log.entry)} · hypertab` : 'hypertab'
  if (moveFocus) {
    scrollTo(0, 0)
    byId(log ? 'log-title' : 'home-title').focus({ preventScroll: true })
  }
  if (log) catalog.update(log.entry.id, { seen: Date.now() })
  else home.render()
  await log?.open()
}

function idOf (text: string): string | null {
  try {
    return formatKey(parseKey(text))
  } catch {
    return null
  }
}

function add (id: string): Log {
  const known = catalog.find(id)
  const entry = known ?? { id, store: `log-${id}`, isOwn: false, name: '', length: 0, held: 0, seen: Date.now() }
  if (!known) catalog.put(entry)
  const log = new Log(entry, catalog, network)
  open.set(id, log)
  return log
}

async function create (name: string): Promise<void> {
  const log = await Log.create(name, catalog, network)
  open.set(log.entry.id, log)
  go(log.entry.id)
}

// A log that failed is opened anew; otherwise it is the relay that is tried again.
async function retry (): Promise<void> {
  if (!shown?.hasProblem) return network.start()
  open.delete(shown.entry.id)
  await shown.close().catch(() => {})
  await route(false)
}

async function remove (entry: Entry): Promise<void> {
  const question = entry.isOwn
    ? 'Its blocks and the key to append with are deleted from this browser, for good. Nobody can ever append to it again.'
    : 'Its blocks are deleted from this browser. With the key it can be fetched again while somebody holds it.'
  if (!await confirm(`Remove ${nameOf(entry)}?`, question)) return
  try {
    const log = open.get(entry.id)
    open.delete(entry.id)
    await log?.close().catch(() => {})
    await removeStore(entry.store)
    catalog.remove(entry.id)
    toast(`${nameOf(entry)} was removed`)
  } catch (error) {
    toast(`Not removed. ${sentence(error)}`)
  }
  if (shown?.entry.id === entry.id) go('')
}

function confirm (title: string, words: string): Promise<boolean> {
  const dialog = byId<HTMLDialogElement>('confirm')
  setText(byId('confirm-title'), title)
  setText(byId('confirm-words'), words)
  dialog.returnValue = ''
  dialog.showModal()
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => resolve(dialog.returnValue === 'yes'), { once: true })
  })
}

function render (): void {
  const { tone, words } = relayWords(network.relay, navigator.onLine)
  byId('relay-chip').dataset.tone = tone
  setText(byId('relay-words'), words)
  if (shown) view.render()
}
