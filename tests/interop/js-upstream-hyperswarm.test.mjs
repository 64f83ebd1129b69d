// What swarms do, with upstream's class and with ours: the same programs, the same notes.

import { sleep } from './support/assertions.mjs'
import { closed, eventually, first, outcomeOf as told } from './support/both.mjs'
import { sameSwarms } from './support/same-swarms.mjs'

const topicOf = (name) => Buffer.alloc(32, name)

/** Connections that a swarm gets from now on, each with what is known of its peer. */
function watch (swarm, ended = false) {
  const seen = []
  swarm.on('connection', (connection, info) => {
    seen.push({ connection, info })
    if (ended) connection.destroy()
  })
  return seen
}

const join = async (swarm, topic, options) => await swarm.join(topic, options).flushed()

sameSwarms('what a swarm has before anything happened', async ({ create, note }) => {
  const seed = Buffer.alloc(32, 7)
  const swarm = create({ seed })
  note(swarm.keyPair.publicKey, create({ keyPair: swarm.keyPair }).keyPair === swarm.keyPair)
  note(swarm.destroyed, swarm.suspended, swarm.maxPeers, swarm.maxParallel, swarm.maxClientConnections, swarm.maxServerConnections)
  note(swarm.connecting, swarm.connections, swarm.peers, swarm.explicitPeers, swarm.listening, swarm.stats, swarm.relayThrough)
  note(swarm.status(topicOf('a')), [...swarm.topics()], swarm.server.listening, swarm.server.publicKey, swarm.server.address())
  note(await swarm.flush(), await swarm.clear(), await swarm.leave(topicOf('a')))
  const listening = swarm.listen()
  note(swarm.listen() === listening, swarm.listening === listening, (await listening) === swarm.server)
  note(swarm.server.listening, swarm.server.publicKey, swarm.server.address().publicKey)
  await swarm.destroy()
  note(swarm.destroyed, await swarm.destroy(), swarm.server.closed, swarm.server.publicKey)
})

sameSwarms('what is asked for wrongly', async ({ create, note }) => {
  const swarm = create()
  note(await told(() => swarm.join()), await told(() => swarm.leave()), await told(() => swarm.join(null, {})))
  const session = swarm.join(topicOf('wrong'))
  note(await told(() => session.refresh({ client: false, server: false })))
  await session.destroy()
  note(await told(() => session.refresh()), session.destroyed, await session.destroy(), swarm.status(topicOf('wrong')))
  const { discovery } = session
  note(discovery.destroyed, await told(() => discovery.refresh()), await told(() => discovery.session({})))
  await swarm.destroy()
  note(await told(() => swarm.join(topicOf('late'))), await told(async () => (await swarm.listen()) === swarm.server), await swarm.flush())
})

sameSwarms('one announces, one looks', async ({ create, note }) => {
  const [server, client] = [create(), create()]
  const [accepted, dialled] = [watch(server), watch(client)]
  note(await join(server, topicOf('one'), { client: false }))
  const session = client.join(topicOf('one'), { server: false })
  note(session.isClient, session.isServer, session.topic, session.swarm === client, session.discovery === client.status(topicOf('one')))
  note(await session.flushed(), await client.flush(), await client.flush())
  await eventually(() => accepted.length === 1)
  const [{ connection, info }] = dialled
  note(dialled.length, connection.isInitiator, connection.remotePublicKey.equals(server.keyPair.publicKey), connection.publicKey.equals(client.keyPair.publicKey))
  note(client.connections.has(connection), client.connections.size, client.peers.size, client.connecting, client.stats)
  note(info.publicKey.equals(server.keyPair.publicKey), info.client, info.server, info.topics, info.prioritized, info.priority, info.attempts, info.proven, info.tried)
  note(info.banned, info.explicit, info.queued, info.waiting, info.reconnecting, info.forceRelaying, info.disconnectedTime, info.connectedTime > 0)
  note(client.peers.get(Buffer.from(server.keyPair.publicKey).toString('hex')) === info)
  const other = accepted[0]
  note(other.connection.isInitiator, other.info.client, other.info.server, other.info.topics, other.info.attempts, other.info.proven, other.info.connectedTime, other.info.relayAddresses)
  note(server.connections.size, server.peers.size, server.stats.connects, other.info.publicKey.buffer.byteLength, info.topics[0].buffer.byteLength)
  connection.write('hello')
  const data = await first(other.connection, 'data')
  note(data)
  const ended = closed(other.connection)
  await client.destroy()
  await ended
  await eventually(() => server.connections.size === 0)
  note(client.connections.size, server.peers.size, server.stats.connects)
})

sameSwarms('two that both announce have one connection', async ({ create, note }) => {
  const [a, b] = [create(), create()]
  const [ofA, ofB] = [watch(a), watch(b)]
  note(await join(a, topicOf('both')), await join(b, topicOf('both')))
  await eventually(() => a.connections.size === 1 && b.connections.size === 1)
  await sleep(300)
  note(ofA.length, ofB.length, a.connections.size, b.connections.size, a.connecting, b.connecting)
  note([...ofA, ...ofB].map(({ connection }) => connection.isInitiator).sort())
})

sameSwarms('who is lost is dialled again', async ({ create, note }) => {
  const [server, client] = [create(), create()]
  const [accepted, dialled] = [watch(server), watch(client)]
  await join(server, topicOf('again'), { client: false })
  client.join(topicOf('again'), { server: false })
  await eventually(() => dialled.length === 1)
  dialled[0].connection.destroy()
  await closed(dialled[0].connection)
  note(client.connections.size, dialled[0].info.waiting, dialled[0].info.attempts, dialled[0].info.proven, client.peers.size)
  await eventually(() => dialled.length === 2 && accepted.length === 2)
  note(dialled[1].info === dialled[0].info, dialled[1].info.priority, dialled[1].info.attempts, client.stats.connects.client)
  // Whoever does not want to be dialled again is not.
  dialled[1].info.reconnect(false)
  dialled[1].connection.destroy()
  await closed(dialled[1].connection)
  await sleep(600)
  note(dialled.length, client.peers.size)
})

sameSwarms('who fails is tried three times', async ({ create, note }) => {
  const [server, client] = [create(), create()]
  let connections = 0
  client.on('connection', (connection, info) => {
    connections++
    info.proven = false
    info.attempts = connections
    connection.destroy()
  })
  await join(server, topicOf('fails'), { client: false })
  client.join(topicOf('fails'), { server: false })
  await sleep(2200)
  note(connections, client.peers.size)
})

sameSwarms('who is banned is neither dialled nor let in', async ({ create, note }) => {
  const [server, client] = [create(), create()]
  const dialled = []
  client.on('connection', (connection, info) => {
    dialled.push(info)
    info.ban(true)
    connection.destroy()
  })
  await join(server, topicOf('banned'), { client: false })
  client.join(topicOf('banned'), { server: false })
  await eventually(() => dialled.length === 1 && client.connections.size === 0)
  await sleep(600)
  note(dialled.length, dialled[0].banned, client.peers.size, client.stats.bannedPeers)
})

sameSwarms('one connection serves several topics', async ({ create, note }) => {
  const [server, client] = [create(), create()]
  const dialled = watch(client)
  await join(server, topicOf('first'), { client: false })
  await join(server, topicOf('second'), { client: false })
  const topics = []
  await join(client, topicOf('first'), { server: false })
  await eventually(() => dialled.length === 1)
  dialled[0].info.on('topic', (topic) => topics.push(topic))
  await join(client, topicOf('second'), { server: false })
  await eventually(() => topics.length === 1)
  note(dialled.length, dialled[0].info.topics, topics, [...client.topics()].map(({ topic }) => topic))
})

sameSwarms('sessions of one topic', async ({ create, note }) => {
  const [server, client] = [create(), create()]
  const topic = topicOf('sessions')
  const first = client.join(topic, { server: false })
  const second = client.join(topic, { client: false })
  const { discovery } = first
  note(first.discovery === second.discovery, discovery.isClient, discovery.isServer, first.isServer, second.isServer)
  note(await first.flushed(), await second.flushed(), client.status(topic) === discovery)
  await second.destroy()
  note(discovery.isServer, discovery.isClient, discovery.destroyed, client.status(topic) === discovery)
  await first.refresh({ client: true, server: true })
  note(discovery.isServer, first.isServer, await first.refresh())
  await first.destroy()
  note(discovery.destroyed, client.status(topic), [...client.topics()].length)
  const third = client.join(topic)
  note(third.discovery === discovery, await third.flushed())
  const dialled = watch(server)
  await join(server, topic, { server: false })
  await eventually(() => dialled.length === 1)
  await client.leave(topic)
  note(client.status(topic), third.discovery.destroyed, third.destroyed, client.connections.size)
})

sameSwarms('who leaves is not found', async ({ create, note }) => {
  const [server, client] = [create(), create()]
  const dialled = watch(client)
  await join(server, topicOf('left'))
  await server.leave(topicOf('left'))
  await join(client, topicOf('left'), { server: false })
  note(await client.flush(), dialled.length)
})

sameSwarms('a refresh finds who came later', async ({ create, note }) => {
  const [a, b, client] = [create(), create(), create()]
  const dialled = watch(client)
  await join(a, topicOf('later'), { client: false })
  const session = client.join(topicOf('later'), { server: false })
  await session.flushed()
  await client.flush()
  note(dialled.length)
  await join(b, topicOf('later'), { client: false })
  note(await session.refresh(), await client.flush(), dialled.length, client.connections.size, client.peers.size)
})

sameSwarms('firewalls', async ({ create, note }) => {
  const stranger = create()
  const asked = []
  const guarded = create({ firewall: (key, payload) => { asked.push([key.equals(stranger.keyPair.publicKey), payload === null]); return true } })
  const bans = []
  guarded.on('ban', (info, error) => bans.push([info.publicKey.equals(stranger.keyPair.publicKey), info.banned, error.message]))
  const [accepted, dialled] = [watch(guarded), watch(stranger)]
  await join(guarded, topicOf('guarded'), { client: false })
  await join(stranger, topicOf('guarded'), { server: false })
  await eventually(() => asked.length > 0 && stranger.connecting === 0)
  await sleep(1200)
  note(accepted.length, dialled.length, asked.length, bans, guarded.stats.bannedPeers, guarded.peers.size)
  const picky = create({ firewall: (key, payload) => payload === null })
  const found = watch(picky)
  await join(stranger, topicOf('picky'), { client: false })
  await join(picky, topicOf('picky'), { server: false })
  note(await picky.flush(), found.length, picky.stats, [...picky.peers.values()].map(({ banned }) => banned))
})

sameSwarms('who is dialled and who dials is told apart by what a firewall sees', async ({ create, note }) => {
  const judged = []
  const judge = (name) => ({ firewall: (key, payload) => { judged.push([name, payload === null, payload?.version, Array.isArray(payload?.addresses4)]); return false } })
  const [server, client] = [create(judge('server')), create(judge('client'))]
  const [accepted, dialled] = [watch(server), watch(client)]
  await join(server, topicOf('judged'), { client: false })
  await join(client, topicOf('judged'), { server: false })
  await eventually(() => accepted.length === 1 && dialled.length === 1)
  note([...new Set(judged.map((entry) => JSON.stringify(entry)))].sort())
  const { remotePublicKey } = dialled[0].connection
  note(client._allConnections.size, client._allConnections.has(remotePublicKey), client._allConnections.get(remotePublicKey) === dialled[0].connection, [...client._allConnections].length)
  const { _closestNodes: nodes } = server.status(topicOf('judged'))
  note(nodes.length > 0, nodes[0].id.byteLength, nodes[0].id.buffer.byteLength)
})

sameSwarms('who throws in a firewall lets nobody in', async ({ create, note }) => {
  const stranger = create()
  const server = create({ firewall: () => { throw new Error('no idea') } })
  const [accepted, dialled] = [watch(server), watch(stranger)]
  await join(server, topicOf('thrown'), { client: false })
  await join(stranger, topicOf('thrown'), { server: false })
  await eventually(() => stranger.connecting === 0 && stranger.stats.connects.client.closed > 0)
  note(accepted.length, dialled.length, server.stats.bannedPeers, server.peers.size)
})

sameSwarms('peers by key', async ({ create, note }) => {
  const [a, b] = [create(), create()]
  await b.listen()
  const [ofA, ofB] = [watch(a), watch(b)]
  a.joinPeer(a.keyPair.publicKey)
  note(a._queue.length, a.explicitPeers.size, a.peers.size)
  a.joinPeer(b.keyPair.publicKey)
  note(a.explicitPeers.size, a.peers.size, a.connecting)
  await eventually(() => ofA.length === 1 && ofB.length === 1)
  note(ofA[0].info.explicit, ofA[0].info.topics, ofA[0].info.client, a.explicitPeers.has(ofA[0].info))
  for (const connection of a.connections) connection.end()
  for (const connection of b.connections) connection.end()
  await eventually(() => ofA.length === 2 && ofB.length === 2)
  a.leavePeer(b.keyPair.publicKey)
  note(a.explicitPeers.size, a.connections.size, b.connections.size, ofA[1].info.explicit)
  for (const connection of a.connections) connection.end()
  for (const connection of b.connections) connection.end()
  await eventually(() => a.connections.size === 0 && b.connections.size === 0)
  await sleep(600)
  note(ofA.length, ofB.length, a.peers.size, a.leavePeer(b.keyPair.publicKey))
})

sameSwarms('suspended and resumed', async ({ create, note }) => {
  const [server, client] = [create(), create()]
  const [accepted, dialled] = [watch(server), watch(client)]
  await join(server, topicOf('sleepy'), { client: false })
  const session = client.join(topicOf('sleepy'), { server: false })
  await eventually(() => dialled.length === 1 && accepted.length === 1)
  const words = []
  await client.suspend({ log: (word) => words.push(word) })
  note(client.suspended, client.connections.size, client.peers.size, session.discovery.suspended, words.filter((word) => /^Suspending server and|swarm fully/.test(word)))
  note(await client.suspend(), await session.refresh(), client.connecting)
  await eventually(() => server.connections.size === 0)
  await client.resume()
  note(client.suspended, session.discovery.suspended, await client.resume())
  await eventually(() => dialled.length === 2 && accepted.length === 2)
  await server.suspend()
  await server.resume()
  await eventually(() => server.connections.size === 1 && client.connections.size === 1)
  note(server.suspended)
})

sameSwarms('destroyed while connected', async ({ create, note }) => {
  for (const force of [false, true]) {
    const [server, client] = [create(), create()]
    const [accepted, dialled] = [watch(server), watch(client)]
    // One of its own: what is destroyed by force stays announced.
    const topic = Buffer.from(crypto.getRandomValues(new Uint8Array(32)))
    await join(server, topic, { client: false })
    client.join(topic, { server: false })
    await eventually(() => dialled.length === 1 && accepted.length === 1)
    const events = []
    for (const { connection } of [...dialled, ...accepted]) {
      connection.on('error', () => {})
      connection.on('close', () => events.push(connection.isInitiator))
    }
    // Whoever waits for the end finds nothing that is left.
    await client.destroy({ force })
    note(client.connections.size, client.stats.connects.client, dialled[0].connection.destroyed, events.includes(true), client.connecting)
    await eventually(() => server.connections.size === 0)
    await server.destroy({ force })
    note(server.connections.size, server.stats.connects.server)
  }
})

sameSwarms('no more than are wanted', async ({ create, note }) => {
  const servers = [create(), create(), create()]
  for (const server of servers) await join(server, topicOf('many'), { client: false })
  const limited = create()
  await join(limited, topicOf('many'), { server: false, limit: 1 })
  note(await limited.flush(), limited.connections.size, limited.peers.size)
  const small = create({ maxPeers: 2 })
  await join(small, topicOf('many'), { server: false })
  note(await small.flush(), small.connections.size, small.peers.size)
  const shy = create({ maxClientConnections: 1, maxParallel: 1 })
  await join(shy, topicOf('many'), { server: false })
  note(await shy.flush(), shy.connections.size)
  const narrow = create({ maxParallel: 1 })
  let most = 0
  narrow.on('update', () => { most = Math.max(most, narrow.connecting) })
  await join(narrow, topicOf('many'), { server: false })
  note(await narrow.flush(), narrow.connections.size, most, narrow.stats)
})

sameSwarms('leaving everything', async ({ create, note }) => {
  const [server, client] = [create(), create()]
  const dialled = watch(client)
  await join(server, topicOf('one'))
  await join(server, topicOf('two'))
  await join(client, topicOf('one'), { server: false })
  await eventually(() => dialled.length === 1)
  note(await server.clear(), [...server.topics()].length, server.status(topicOf('one')), server.connections.size)
  const updates = []
  client.on('update', () => updates.push([client.connections.size, client.connecting]))
  await server.destroy()
  await eventually(() => client.connections.size === 0)
  note(updates[0], client.destroyed, await client.destroy(), await client.destroy({ force: true }))
})
