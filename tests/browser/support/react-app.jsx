// Components of an application, for the test of the hooks.

import { StrictMode, useState } from 'react'
import { createRoot } from 'react-dom/client'
import { Corestore, Hyperbee, Hypercore, Hyperdrive, Hyperswarm, memory } from 'hypertab'
import { useBee, useCore, useDrive, useSwarm } from 'hypertab/react'

/** What was made, to be asked whether it was closed. */
export const made = { cores: [], bees: [], drives: [], swarms: [] }

const keep = (list, thing) => {
  list.push(thing)
  return thing
}

function Log ({ name }) {
  const { core, status, error, length, contiguousLength, writable, peers } = useCore(() => keep(made.cores, new Hypercore(name, { valueEncoding: 'utf-8' })), [name])
  globalThis.core = core
  return <p id='log'>{`${status} ${length} ${contiguousLength} ${writable} ${peers.length} ${error?.code ?? ''}`}</p>
}

function Given ({ core }) {
  const { status, length } = useCore(core)
  return <p id='given'>{`${status} ${length}`}</p>
}

function Table ({ store }) {
  const [limit, setLimit] = useState(-1)
  const { bee, status, version, entries } = useBee(
    () => keep(made.bees, new Hyperbee(store.get({ name: 'bee' }), { keyEncoding: 'utf-8', valueEncoding: 'json' })),
    { range: { gte: 'b', limit } }
  )
  globalThis.bee = bee
  return <div>
    <p id='bee'>{`${status} ${version} ${entries.map(({ key, value }) => `${key}=${value}`).join()}`}</p>
    <button id='one' onClick={() => setLimit(1)}>one</button>
  </div>
}

function Files ({ store }) {
  const [folder, setFolder] = useState('/')
  const { drive, status, files } = useDrive(() => keep(made.drives, new Hyperdrive(store.namespace('drive'))), { folder })
  globalThis.drive = drive
  return <div>
    <p id='drive'>{`${status} ${files.map(({ key }) => key).join()}`}</p>
    <button id='below' onClick={() => setFolder('/below')}>below</button>
  </div>
}

function Remote ({ store, theirs, relay }) {
  const core = useCore(() => store.get({ key: theirs, valueEncoding: 'utf-8' }), [theirs])
  const { status, isOnline, connections } = useSwarm(() => keep(made.swarms, new Hyperswarm({ relay })), {
    topics: [core.core?.discoveryKey], replicate: store, server: false
  })
  globalThis.remote = core.core
  return <p id='remote'>{`${status} ${isOnline} ${connections.map(({ path }) => path).join()} ${core.length} ${core.peers.length}`}</p>
}

/** Shows one of them in strict mode; returns what takes it away. */
export function show (name, props) {
  const place = document.body.appendChild(document.createElement('div'))
  const root = createRoot(place)
  const Shown = { Log, Given, Table, Files, Remote }[name]
  root.render(<StrictMode><Shown {...props} /></StrictMode>)
  return () => {
    root.unmount()
    place.remove()
  }
}

export { Corestore, Hypercore, memory }
