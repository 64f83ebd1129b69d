// Every member of upstream's objects is one of ours, but for those that are named here, each group with its reason.

import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import test from 'node:test'

import { defer } from './support/cleanup.mjs'
import { temporaryFolder } from './support/folder.mjs'

const require = createRequire(import.meta.url)

const classesOf = (prefix) => Object.fromEntries(['hypercore', 'corestore', 'hyperbee', 'hyperblobs', 'hyperdrive', 'mirror-drive', 'localdrive']
  .map((name) => [name, require(prefix + name)]))

/** Members that only upstream's have, by the object they are of. */
const MISSING = {
  // The engine verifies, stores and tells peers on its own; a program has nothing to hook in or to keep in step.
  'core.core': ['exclusive', 'truncating', 'hintsChanged', 'remoteContiguousLengthChanged',
    'emitRemoteContiguousLength', 'emitManifest', 'flushed', 'flushHints', 'checkConflict',
    'updateContiguousLength', 'updateRemoteContiguousLength', 'onappend', 'ontruncate'],
  state: ['index', 'lingers', 'atomized', 'snapshotCompatLength', 'lastTruncation', 'groupUpdated', 'active',
    'setRoots', 'close', 'updateDependency', 'updateGroupIndex', 'createWriteBatch', 'flush', 'reorg', 'onappend', 'ontruncate'],
  replicator: ['hotswaps', 'signalAllowPush', 'onhave', 'ontruncate', 'onupgrade', 'onconflict', 'applyPendingReorg', 'addUpgrade',
    'addBlock', 'addSeek', 'addRange', 'cancel', 'updatePeer', 'updateSubset', 'updateAll', 'getUpdateAllDelay', 'queueUpdateAll', 'onpeerdestroy',
    'close', 'destroy'],
  peer: ['remoteSupportsSeeks', 'fullyDownloadedSignaled', 'wireSync', 'wireRequest', 'wireCancel', 'wireData', 'wireNoData', 'wireWant', 'wireUnwant',
    'wireBitfield', 'wireRange', 'wireExtension', 'receiverQueue', 'receiverBusy', 'roundtripQueue', 'dataProcessing', 'needsSync', 'syncsProcessing',
    'lastUpgradableLength', 'lastUpgradableFork', 'pushedLength', 'remoteRequests', 'segmentsWanted', 'broadcastedNonSparse', 'wants', 'remoteWants',
    'lastExtensionSent', 'lastExtensionRecv', 'signalUpgrade', 'broadcastRange', 'onextension', 'sendSync', 'onopen', 'onclose', 'closeIfIdle', 'onsync',
    'onrequest', 'oncancel', 'ondrain', 'push', 'ondata', 'onnodata', 'onwant', 'onunwant', 'onbitfield', 'onrange', 'onreorghint'],
  channel: ['messages', 'onopen', 'onclose', 'ondestroy', 'ondrain', 'fullyClosed', 'open', 'close', 'addMessage'],
  // The bits are the engine's: they change when blocks do.
  bitfield: ['resumed', 'merge', 'set', 'setRange', 'clear', 'onupdate'],
  'peer.remoteBitfield': ['set', 'setRange', 'insert', 'clear'],
  // Records are where the engine puts them: there is no RocksDB, no view of one and no file of a device.
  'state.storage': ['db', 'view', 'treeCache', 'setDependencyHead', 'updateDependencyLength', 'findDependencyIndex'],
  'storage.read': ['core', 'read', 'view', 'treeCache', 'fork', 'stats'],
  'storage.write': ['core', 'db', 'view', 'changes', 'putGroupUpdate', 'deleteGroupUpdate'],
  atom: ['db', 'view', 'flushedPromise', 'preflushes', 'flushes'],
  'store.storage': ['bootstrap', 'alwaysRecover', 'allowBackup', 'deviceFile', 'wait', 'id', 'view', 'enters', 'flushing', 'version', 'migrating',
    'stats', 'rocks', 'db', 'treeCache', 'audit', 'clear', 'setRecovering', 'setDefaultDiscoveryKey', 'resumeCore', 'createCore', 'createGroup'],
  // Blocks are in the cache of the bee.
  'bee.batch': ['blocks'],
  'bee.createRangeIterator': ['stack'],
  'bee.extension': ['encoding', 'oncache', 'onget', 'oniterator'],
  // Only a stream of upstream's own is turned round.
  stream: ['reverse', 'flush'],
  'store.stream': ['reverse', 'flush'],
  // What every function has.
  'bee.lock': ['arguments', 'caller', 'prototype']
}

test('every member is there, but those that are named', async (t) => {
  const missing = {}
  const theirs = await play(t, classesOf(''))
  const ours = await play(t, classesOf('hypertab/'))
  for (const [name, members] of Object.entries(theirs)) {
    assert.ok(members.size > 0, name)
    const lacks = [...members].filter((member) => !ours[name].has(member))
    if (lacks.length > 0) missing[name] = lacks.sort()
  }
  assert.deepEqual(missing, Object.fromEntries(Object.entries(MISSING).map(([name, members]) => [name, [...members].sort()])))
})

/** Parts of upstream's package that programs import, and what only upstream's have, by the part and the class in it. */
const PARTS = {
  audit: [], 'bit-interlude': [], bitfield: [], caps: [], 'copy-prologue': [], 'default-encryption': [], 'feature-flags': [], 'fully-remote-proof': [],
  'mark-bitfield': [], multisig: [], mutex: [], 'remote-bitfield': [], streams: [], verifier: [], wants: [],
  core: MISSING['core.core'].filter((name) => !['exclusive', 'truncating', 'hintsChanged', 'remoteContiguousLengthChanged'].includes(name)),
  // There are no files of a device to be measured.
  info: ['storage', 'bytesUsed'],
  'merkle-tree': ['MerkleTreeBatch.appendRoot'],
  // Records of hypercore 10, which the engine reads.
  messages: ['oplog']
}

test('every part has what upstream\'s has, but for what is named', () => {
  for (const [name, missing] of Object.entries(PARTS)) {
    const [theirs, ours] = ['hypercore', 'hypertab/hypercore'].map((prefix) => require(`${prefix}/lib/${name}`))
    assert.equal(typeof ours, typeof theirs, name)
    assert.deepEqual(partsOf(theirs).filter((path) => !hasPart(ours, path)).sort(), [...missing].sort(), name)
  }
})

/** Names in a part, and in the classes of one. */
function partsOf (part) {
  const namesOf = (owner) => [owner, owner.prototype ?? {}].flatMap((owner) => Object.getOwnPropertyNames(owner))
    .filter((name) => !name.startsWith('_') && !['constructor', 'length', 'name', 'prototype', 'arguments', 'caller'].includes(name))
  const classes = typeof part === 'object' ? Object.keys(part).filter((name) => part[name]?.prototype) : []
  return [...namesOf(part), ...classes.flatMap((name) => namesOf(part[name]).map((inner) => `${name}.${inner}`))]
}

function hasPart (part, path) {
  const [name, inner] = path.split('.')
  const has = (owner, name) => name in owner || (owner.prototype !== undefined && name in owner.prototype)
  return has(part, name) && (inner === undefined || has(part[name], inner))
}

/** Public members of every kind of object, by what it is. */
async function play (t, classes) {
  const { hypercore: Hypercore, corestore: Corestore, hyperbee: Hyperbee, hyperblobs: Hyperblobs, hyperdrive: Hyperdrive } = classes
  const { 'mirror-drive': MirrorDrive, localdrive: Localdrive } = classes
  const folder = () => temporaryFolder(t)
  const opened = (thing) => {
    defer(t, () => thing.close())
    return thing
  }
  const objects = { Hypercore, Corestore, Hyperbee, Hyperblobs, Hyperdrive, MirrorDrive, Localdrive }

  const core = opened(new Hypercore(folder()))
  await core.append(['a', 'b', 'c'])
  const clone = opened(new Hypercore(folder(), core.key))
  await clone.ready()
  const [one, other] = [core.replicate(true, { keepAlive: false }), clone.replicate(false, { keepAlive: false })]
  for (const stream of [one, other]) stream.on('error', () => {})
  one.pipe(other).pipe(one)
  defer(t, () => { one.destroy() })
  await clone.get(1)
  const [peer] = clone.peers
  const { storage } = core.state
  const encrypted = opened(new Hypercore(folder(), { encryption: { key: Buffer.alloc(32) } }))
  await encrypted.ready()
  Object.assign(objects, {
    core,
    session: opened(core.session()),
    snapshot: opened(core.snapshot()),
    branch: opened(core.session({ name: 'branch' })),
    'core.core': core.core,
    state: core.state,
    replicator: core.core.replicator,
    bitfield: core.core.bitfield,
    header: core.core.header,
    'header.hints': core.core.header.hints,
    verifier: core.core.verifier,
    'state.storage': storage,
    'storage.read': destroyed(storage.read()),
    'storage.write': storage.write(),
    atom: storage.createAtom(),
    peer,
    'peer.stats': peer.stats,
    'peer.remoteBitfield': peer.remoteBitfield,
    channel: peer.channel,
    'replicator.stats': core.core.replicator.stats,
    stream: one,
    noiseStream: one.noiseStream,
    protomux: one.noiseStream.userData,
    info: await core.info(),
    download: core.download({ start: 0, end: 1 }),
    createReadStream: ended(core.createReadStream()),
    createByteStream: ended(core.createByteStream()),
    createWriteStream: ended(core.createWriteStream()),
    extension: core.registerExtension('members', {}),
    encryption: encrypted.encryption
  })

  const store = opened(new Corestore(folder()))
  await store.ready()
  Object.assign(objects, {
    store,
    'store.storage': store.storage,
    'store.cores': store.cores,
    'store.sessions': store.sessions,
    'store.streamTracker': store.streamTracker,
    'store.namespace': opened(store.namespace('members')),
    'store.stream': ended(store.replicate(true))
  })

  const bee = opened(new Hyperbee(store.get({ name: 'bee' }), { keyEncoding: 'utf-8', valueEncoding: 'utf-8' }))
  await bee.put('a', 'b')
  const batch = bee.batch()
  await batch.put('c', 'd')
  Object.assign(objects, {
    bee,
    'bee.batch': batch,
    'bee.lock': bee.lock,
    'bee.extension': bee.extension,
    'bee.sub': bee.sub('sub'),
    'bee.snapshot': opened(bee.snapshot()),
    'bee.entry': await bee.get('a'),
    'bee.watch': opened(bee.watch()),
    'bee.getAndWatch': opened(await bee.getAndWatch('a')),
    'bee.createRangeIterator': opened(bee.createRangeIterator()),
    'bee.createReadStream': ended(bee.createReadStream()),
    'bee.createHistoryStream': ended(bee.createHistoryStream()),
    'bee.createDiffStream': ended(bee.createDiffStream(1))
  })
  await batch.flush()

  const blobs = opened(new Hyperblobs(store.get({ name: 'blobs' })))
  const id = await blobs.put('blob')
  Object.assign(objects, {
    blobs,
    'blobs.id': id,
    'blobs.batch': blobs.batch(),
    'blobs.monitor': opened(blobs.monitor(id)),
    'blobs.createReadStream': ended(blobs.createReadStream(id)),
    'blobs.createWriteStream': ended(blobs.createWriteStream())
  })

  const drive = opened(new Hyperdrive(store.namespace('drive')))
  await drive.put('/a', 'x')
  const local = opened(new Localdrive(folder()))
  await local.put('/x', 'y')
  const monitor = drive.monitor('/a')
  await monitor.ready()
  const entry = await local.entry('/x')
  const mirror = drive.mirror(local)
  await mirror.done()
  const mirrorMonitor = mirror.monitor()
  defer(t, () => { mirrorMonitor.destroy() })
  Object.assign(objects, {
    drive,
    'drive.batch': opened(drive.batch()),
    'drive.checkout': opened(drive.checkout(2)),
    'drive.entry': await drive.entry('/a'),
    'drive.entry.value': (await drive.entry('/a')).value,
    'drive.watch': opened(drive.watch('/')),
    'drive.monitor': opened(monitor),
    'drive.monitor.downloadStats': monitor.downloadStats,
    'drive.list': ended(drive.list('/')),
    'drive.readdir': ended(drive.readdir('/')),
    'drive.diff': ended(drive.diff(1, '/')),
    'drive.createReadStream': ended(drive.createReadStream('/a')),
    'drive.createWriteStream': ended(drive.createWriteStream('/b')),
    'drive.download': drive.download('/'),
    'drive.blobs': drive.blobs,
    'drive.db': drive.db,
    local,
    'local.entry': entry,
    'local.createReadStream': ended(local.createReadStream('/x')),
    mirror,
    'mirror.count': mirror.count,
    'mirror.monitor': mirrorMonitor
  })
  return Object.fromEntries(Object.entries(objects).map(([name, object]) => [name, membersOf(object)]))
}

function membersOf (object) {
  const members = new Set()
  for (let owner = object; owner && owner !== Object.prototype && owner !== Function.prototype; owner = Object.getPrototypeOf(owner)) {
    for (const name of Object.getOwnPropertyNames(owner)) if (!name.startsWith('_') && name !== 'constructor') members.add(name)
  }
  return members
}

function ended (stream) {
  stream.on('error', () => {})
  stream.destroy()
  return stream
}

function destroyed (reader) {
  reader.destroy()
  return reader
}
