// Starts the page and decides which view is shown.
//
// What goes on behind the views: Log for logs; Works of Drive and Table for what is in the page's one store; Network for all.

import { serveDrives } from 'hypertab/service-worker'

import { Desk } from './desk.ts'
import { parsePlace } from './model/address.ts'
import type { Place } from './model/address.ts'
import { backup, restore } from './model/backup.ts'
import { Catalog } from './model/catalog.ts'
import type { Entry } from './model/catalog.ts'
import { loadConfig, sampleKeys } from './model/config.ts'
import { Devices } from './model/devices.ts'
import { Drive } from './model/drive.ts'
import { firstPage } from './model/first-page.ts'
import { KeyError } from './model/key.ts'
import { Log } from './model/log.ts'
import { Mirror } from './model/mirror.ts'
import type { Own } from './model/mirror.ts'
import { Network } from './model/network.ts'
import { sentence } from './model/problem.ts'
import { isKept } from './model/settings.ts'
import { removeStore } from './model/store.ts'
import { relayWords } from './model/status.ts'
import type { Room } from './model/room/room.ts'
import { Rooms } from './model/room/rooms.ts'
import { Table } from './model/table.ts'
import { Vault } from './model/vault.ts'
import type { Work } from './model/work.ts'
import { Works } from './model/works.ts'
import { RoomsDesk } from './rooms-desk.ts'
import { BackupView } from './view/backup.ts'
import { confirm } from './view/confirm.ts'
import { CopiesView } from './view/copies.ts'
import { byId, setText, toast } from './view/dom.ts'
import { DriveView } from './view/drive.ts'
import { HomeView, nameOf } from './view/home.ts'
import { KeysView } from './view/keys.ts'
import { LogView } from './view/log.ts'
import { NetworkView } from './view/network.ts'
import { RoomView } from './view/room/room.ts'
import { applyScheme, SettingsView } from './view/settings.ts'
import { wordsOf } from './view/shelf.ts'
import { SiteView } from './view/site.ts'
import { TableView } from './view/table.ts'

applyScheme()
byId('nothing-kept').hidden = isKept

const catalog = new Catalog('logs')
const network = new Network()
const vault = new Vault(() => { void devices.open() })
const drives = new Works('drive', vault, network, (entry, around) => new Drive(entry, around))
const tables = new Works('table', vault, network, (entry, around) => new Table(entry, around))
const rooms = new Rooms(vault, network)
const devices = new Devices(vault, network, {
  own: () => [...drives.own(), ...tables.own()],
  adopt: (works, store) => { for (const kind of [drives, tables]) kind.adopt(works, store) }
})
/** Logs that are open; they stay so when another view is shown, and go on replicating. */
const open = new Map<string, Log>()
let shown: Log | null = null
let shownWork: Work | null = null
let shownRoom: Room | null = null

const settings = new SettingsView(() => network.start())
const home = new HomeView(catalog, { open: go, create, remove })
const view = new LogView({
  retry: () => { retry() },
  openSettings: () => settings.open(),
  goHome: () => go(''),
  remove: (log) => { remove(log.entry) }
})

const context = { storeName: () => vault.name, openSettings: () => settings.open(), retryRelay: () => network.start(), shown: () => shownWork }
const driveDesk = new Desk('drive', wordsOf('drive', 'Files, peer to peer',
  'A drive is a folder with a key. Open one and look around: only the files you look at are fetched, every byte is checked, and every older version is still there.', 'Holiday pictures'), drives, context)
const tableDesk = new Desk('table', wordsOf('table', 'Tables, peer to peer',
  'A table is sorted rows with a key. Open one of any size: only the rows on the page are fetched, and it changes before your eyes when its author writes.', 'Bird counts'), tables, context)
const siteDesk = new Desk('site', {
  ...wordsOf('site', 'Sites, peer to peer', 'A site is a drive with an index.html. Its pages are served to this browser by the tab itself, also without a network, and are there anew as soon as the author publishes.', 'My garden'),
  isListed: ({ isSite }) => isSite === true
}, drives, context, firstPage)
const roomsDesk = new RoomsDesk(rooms, context, () => shownRoom)
const driveView = new DriveView(driveDesk.actions)
const tableView = new TableView(tableDesk.actions)
const siteView = new SiteView(siteDesk.actions)
const roomView = new RoomView(roomsDesk.actions)
const networkView = new NetworkView(network, () => settings.open())
const mirror = new Mirror(vault, network, ownThings)
const lists = { drives: drives.catalog, tables: tables.catalog, rooms: rooms.catalog }
const backupView = new BackupView({
  make: async (signal, onbytes) => await backup(vault, lists, { signal, onprogress: ({ bytes }) => onbytes(bytes) }),
  restore: async (file, signal, onbytes) => await restore(file, vault, lists, { signal, onprogress: ({ bytes }) => onbytes(bytes) })
})
const keysView = new KeysView(vault, new CopiesView(mirror), backupView, {
  known: () => {
    const entries = [catalog, ...[drives, tables, rooms].map((works) => works.catalog)].flatMap((list) => list.all()).filter(({ store }) => store === vault.name || store.startsWith('log-'))
    const own = entries.filter(({ isOwn }) => isOwn).length
    return { own, read: entries.length - own }
  },
  devices: () => devices.here,
  own: () => [...drives.own(), ...tables.own()],
  adopt: (works, store) => { for (const kind of [drives, tables]) kind.adopt(works, store) }
})
const sections: [element: HTMLElement, view: Place['view'], title: () => HTMLElement][] = [
  [home.element, 'logs', () => byId('home-title')],
  [view.element, 'log', () => byId('log-title')],
  [driveDesk.shelf.element, 'drives', () => driveDesk.shelf.title],
  [driveView.element, 'drive', () => driveView.title],
  [tableDesk.shelf.element, 'tables', () => tableDesk.shelf.title],
  [tableView.element, 'table', () => tableView.title],
  [siteDesk.shelf.element, 'sites', () => siteDesk.shelf.title],
  [siteView.element, 'site', () => siteView.title],
  [roomsDesk.shelf.element, 'rooms', () => roomsDesk.shelf.title],
  [roomView.element, 'room', () => roomView.title],
  [networkView.element, 'network', () => networkView.title],
  [keysView.element, 'keys', () => keysView.title]
]

byId('open-settings').addEventListener('click', () => settings.open())
byId('relay-chip').addEventListener('click', () => settings.open())
network.watch(render)
devices.watch(() => keysView.renderDevices())
for (const works of [drives, tables]) works.catalog.watch(() => devices.tell())
for (const list of [catalog, drives.catalog, tables.catalog]) list.watch(() => { void mirror.sync() })
for (const event of ['online', 'offline']) addEventListener(event, render)
addEventListener('hashchange', () => { route(true) })
setInterval(() => {
  for (const log of open.values()) log.tick()
  network.tick()
  if (!networkView.element.hidden) {
    networkView.render()
    void network.measure()
  }
  if (network.relay.state === 'lost') render()
}, 1000)

render()
home.render()
route(false)
Promise.all([loadConfig(), network.identify()]).then(() => {
  network.start()
  home.offerSample()
  driveDesk.shelf.offer(sampleKeys().drive)
  siteDesk.shelf.offer(sampleKeys().drive)
  tableDesk.shelf.offer(sampleKeys().table)
})
if (import.meta.env.PROD && 'serviceWorker' in navigator) {
  // Only drives that are known here: an address alone makes nobody fetch anything.
  serveDrives(async (id) => {
    if (drives.catalog.find(id)?.store !== vault.name) return null
    const drive = drives.get(id)
    await drive.open()
    return drive.hyperdrive
  })
  navigator.serviceWorker.register(new URL('service-worker.js', document.baseURI)).catch(() => {})
}

// All that is one's own, opened when a copy of it is asked for.
function ownThings (): Own[] {
  const logs = catalog.all().filter(({ isOwn }) => isOwn).map((entry) => ({
    id: entry.id,
    name: nameOf(entry),
    open: async () => {
      const log = open.get(entry.id) ?? add(entry.id)
      await log.open()
      return log.core
    }
  }))
  const works = [['drive', drives] as const, ['table', tables] as const].flatMap(([kind, list]) => list.own().map(({ id, name }) => ({
    id,
    name: name || `A ${kind} without a name`,
    open: async () => {
      const work = list.get(id)
      await work.open()
      return work.work
    }
  })))
  return [...logs, ...works]
}

function go (id: string): void {
  location.hash = `#/${id}`
}

// Shows what the address bar names.
async function route (moveFocus: boolean): Promise<void> {
  const place = placeOf(location.hash)
  const log = place.view === 'log' ? open.get(place.id) ?? add(place.id) : null
  const drive = place.view === 'drive' || place.view === 'site' ? drives.get(place.id) : null
  const table = place.view === 'table' ? tables.get(place.id) : null
  const room = place.view === 'room' ? rooms.get(place) : null
  const work = drive ?? table
  const wasSame = shownWork !== null && shownWork === work
  for (const [element, name] of sections) element.hidden = name !== place.view
  for (const link of document.querySelectorAll<HTMLElement>('.tabs a')) {
    if (link.dataset.views!.split(' ').includes(place.view)) link.setAttribute('aria-current', 'page')
    else link.removeAttribute('aria-current')
  }
  shown = log
  shownWork = work
  view.show(log)
  if (place.view === 'drive') driveView.show(drive, place.path, place.version)
  else driveView.show(null)
  if (place.view === 'site') siteView.show(drive, place.path, place.version)
  else siteView.show(null)
  tableView.show(table)
  shownRoom = room
  roomView.show(room)
  renderPlace(place)
  const title = sections.find(([, name]) => name === place.view)![2]()
  document.title = log ? `${nameOf(log.entry)} · hypertab` : place.view === 'logs' ? 'hypertab' : `${title.textContent} · hypertab`
  // Within a drive, the focus stays with the file that was chosen.
  if (moveFocus && !wasSame) {
    scrollTo(0, 0)
    title.focus({ preventScroll: true })
  }
  if (log) catalog.update(log.entry.id, { seen: Date.now() })
  if (drive) drives.catalog.update(drive.entry.id, { seen: Date.now(), ...(place.view === 'site' ? { isSite: true } : {}) })
  if (table) tables.catalog.update(table.entry.id, { seen: Date.now() })
  if (room) rooms.catalog.update(room.entry.id, { seen: Date.now() })
  if (work) await release(work.entry.id)
  await Promise.all([log?.open(), work?.open(), room?.open()])
}

// A core has one channel on a connection: what was opened as a log is in the way of a drive or table of the same key.
async function release (id: string): Promise<void> {
  const log = open.get(id)
  if (!log || log.entry.isOwn) return
  open.delete(id)
  await log.close()
}

function renderPlace (place: Place): void {
  switch (place.view) {
    case 'logs': return home.render()
    case 'drives': return driveDesk.shelf.render()
    case 'tables': return tableDesk.shelf.render()
    case 'sites': return siteDesk.shelf.render()
    case 'rooms': return roomsDesk.shelf.render()
    case 'network': return networkView.render()
    case 'keys': return void keysView.render()
  }
}

function placeOf (hash: string): Place {
  try {
    return parsePlace(hash)
  } catch (error) {
    toast(error instanceof KeyError ? 'The address holds no valid key' : sentence(error))
    return { view: 'logs' }
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

function render (): void {
  const { tone, words } = relayWords(network.relay, navigator.onLine)
  byId('relay-chip').dataset.tone = tone
  setText(byId('relay-words'), words)
  if (shown) view.render()
  if (shownWork?.kind === 'drive') {
    driveView.render()
    siteView.render()
  }
  if (shownWork?.kind === 'table') tableView.render()
  if (shownRoom) roomView.render()
}
