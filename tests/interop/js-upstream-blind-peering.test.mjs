// What blind peers are asked for of an Autobase: by upstream's class over upstream's store, and by ours over ours.

import assert from 'node:assert/strict'
import test from 'node:test'

import Autobase from 'autobase'
import b4a from 'b4a'
import UpstreamPeering from 'blind-peering'
import BlindPeerMuxer from 'blind-peer-muxer'
import UpstreamStore from 'corestore'
import UpstreamDHT from 'hyperdht'
import { Corestore } from 'hypertab'
import BlindPeering from 'hypertab/blind-peering'
import HypertabDHT from 'hypertab/dht'
import UpstreamBee from 'hyperbee'
import HypertabBee from 'hypertab/hyperbee'

import { baseOptions } from './support/autobase.mjs'
import { eventually } from './support/both.mjs'
import { defer } from './support/cleanup.mjs'
import { temporaryFolder } from './support/folder.mjs'
import { startRelay } from './support/relay.mjs'
import { parseBootstrap, startTestnet } from './support/testnet.mjs'

/** How long no writer has to come, in milliseconds, until those that came are asked for. */
const IDLE = 1000

const hex = (bytes) => b4a.toString(bytes, 'hex')

/** Starts a blind peer that only writes down what it is asked for. */
async function startPeer (t, bootstrap) {
  const dht = new UpstreamDHT({ bootstrap: parseBootstrap(bootstrap), host: '127.0.0.1', firewalled: false })
  defer(t, () => dht.destroy())
  const batches = []
  const streams = new Set()
  const server = dht.createServer((stream) => {
    streams.add(stream)
    stream.on('error', () => {})
    stream.on('close', () => { streams.delete(stream) })
    BlindPeerMuxer.pair(stream, () => { new BlindPeerMuxer(stream, { oncores: (batch) => { batches.push(batch) } }) })
  })
  await server.listen()
  return { publicKey: server.publicKey, batches, streams }
}

/** Plays the story and returns what was asked for, with names for keys. `isFirst`: with the arguments of upstream's first version. */
async function play (t, kit, limits = {}, isFirst = false) {
  const { bootstrap } = await startTestnet(t)
  const peer = await startPeer(t, bootstrap)
  const dht = await kit.createNode(t, bootstrap)
  const store = new kit.Corestore(temporaryFolder(t))
  defer(t, () => store.close())
  const open = async (store, key = null) => {
    const base = new Autobase(store.namespace('base'), key, { ...baseOptions(kit.Hyperbee), ackThreshold: 0 })
    await base.ready()
    return base
  }
  const base = await open(store)
  defer(t, () => base.close())
  const hints = []
  const keys = [peer.publicKey]
  const blind = new kit.BlindPeering(isFirst ? { dht } : dht, store, { ...(isFirst ? { mirrors: keys } : { keys }), batchIdleWait: IDLE, wakeup: { addStream: (stream) => { hints.push(hex(stream.remotePublicKey)) } }, ...limits })
  defer(t, () => blind.close())
  const writers = []
  /** Lets somebody write who has an own store. */
  const addWriter = async () => {
    const theirs = new kit.Corestore(temporaryFolder(t))
    defer(t, () => theirs.close())
    const other = await open(theirs, base.key)
    defer(t, () => other.close())
    await base.append({ add: hex(other.local.key), indexer: false })
    const pair = [store.replicate(true), theirs.replicate(false)]
    for (const stream of pair) stream.on('error', () => {})
    pair[0].pipe(pair[1]).pipe(pair[0])
    await eventually(() => other.writable, 'a writer', 20_000)
    await other.append({ key: `by ${writers.length}` })
    writers.push(hex(other.local.key))
    await eventually(() => base.view.list.length >= writers.length, 'what it wrote', 20_000)
    pair[0].destroy()
  }
  const named = ({ cores, referrer, ...terms }) => ({
    ...terms,
    referrer: referrer && referrer.equals(base.wakeupCapability.key) ? 'base' : referrer,
    cores: cores.map(({ key, length }) => {
      const id = hex(key)
      const view = [...base.views()].find(({ key }) => hex(key) === id)
      if (id === hex(base.local.key)) return ['local', length === base.local.length]
      if (view) return [`view ${view.name ?? ''}`.trim(), length === view.signedLength]
      return [writers.includes(id) ? `writer ${writers.indexOf(id)}` : id === hex(core.key) ? 'core' : '?', length]
    })
  })
  const core = store.get({ name: 'core' })
  await core.append('block')
  await addWriter()
  const notes = []
  const asked = async (count, pause = 100) => {
    await eventually(() => peer.batches.length >= count, `${count} batches`, 20_000)
    await new Promise((resolve) => setTimeout(resolve, pause))
    notes.push(peer.batches.splice(0).map(named), { ...blind.stats })
  }

  const announced = { announce: true }
  await blind.addCore(core, ...(isFirst ? [core.key, announced] : [announced]))
  await asked(1)
  await blind.addAutobase(base, ...(isFirst ? [base.wakeupCapability.key] : []))
  await blind.addAutobase(base)
  blind.addAutobaseBackground(base)
  await eventually(() => peer.batches.length > 0)
  await addWriter()
  await asked(2)
  // Once that is over, nothing is sent for another one.
  await addWriter()
  await asked(0, IDLE + 200)
  for (const stream of peer.streams) stream.destroy()
  await asked(2)
  base.core.emit('migrate')
  await asked(1)
  await base.close()
  for (const stream of peer.streams) stream.destroy()
  await asked(1)
  notes.push(hints.map((key) => key === hex(peer.publicKey)))
  await blind.close()
  return notes
}

const upstream = {
  Corestore: UpstreamStore,
  Hyperbee: UpstreamBee,
  BlindPeering: UpstreamPeering,
  createNode (t, bootstrap) {
    const dht = new UpstreamDHT({ bootstrap: parseBootstrap(bootstrap), host: '127.0.0.1', firewalled: false })
    defer(t, () => dht.destroy())
    return dht
  }
}

const ours = {
  Corestore,
  Hyperbee: HypertabBee,
  BlindPeering,
  async createNode (t, bootstrap) {
    const relay = await startRelay(t, { bootstrap, args: ['--allow-private'] })
    const dht = new HypertabDHT({ relay: relay.url })
    defer(t, () => dht.destroy())
    return dht
  }
}

test('all of a base', async (t) => {
  const expected = await play(t, upstream)
  assert.deepEqual(await play(t, ours), expected)
  assert.deepEqual(await play(t, ours, {}, true), expected)
})

test('of many writers some', async (t) => {
  const limits = { maxBatchMin: 3, maxBatchMax: 3 }
  assert.deepEqual(await play(t, ours, limits), await play(t, upstream, limits))
})

test('a blind peer that nobody needs is let go', async (t) => {
  const play = async (kit) => {
    const { bootstrap } = await startTestnet(t)
    const peer = await startPeer(t, bootstrap)
    const store = new kit.Corestore(temporaryFolder(t))
    defer(t, () => store.close())
    const blind = new kit.BlindPeering(await kit.createNode(t, bootstrap), store, { keys: [peer.publicKey], gcWait: 50 })
    defer(t, () => blind.close())
    const notes = []
    for (const name of ['one', 'other']) {
      const core = store.get({ name })
      await core.append('block')
      await blind.addCore(core)
      await eventually(() => peer.batches.length === 1)
      notes.push(peer.batches.splice(0).map(({ cores }) => cores.map(({ length }) => length)), [...blind.blindPeers.keys()].map((key) => key === hex(peer.publicKey)), peer.streams.size)
      await new Promise((resolve) => setTimeout(resolve, 400))
      notes.push(blind.blindPeers.size, peer.streams.size)
      await core.close()
      await eventually(() => blind.blindPeers.size === 0 && peer.streams.size === 0)
    }
    return notes
  }
  assert.deepEqual(await play(ours), await play(upstream))
})
