// What a node of the DHT does that programs see, with upstream's on its own socket and with ours behind a relay.

import { closed, eventually, first, outcomeOf as told } from './support/both.mjs'
import { sameNodes } from './support/nodes.mjs'

const fails = async (stream) => {
  const error = await first(stream, 'error')
  return [error.name, error.code]
}

sameNodes('keys, hashes and what a node has', async ({ DHT, create, note }) => {
  const seed = Buffer.alloc(32, 3)
  note(DHT.keyPair(seed), DHT.keyPair().publicKey.byteLength, DHT.keyPair().secretKey.byteLength, DHT.hash(Buffer.from('hash')))
  note(Array.isArray(DHT.BOOTSTRAP), typeof DHT.FIREWALL)
  const node = create({ seed })
  note(node.defaultKeyPair, node.connectionKeepAlive, node.listening, node.destroyed, node.suspended)
  note(create({ connectionKeepAlive: false }).connectionKeepAlive, create({ connectionKeepAlive: 100 }).connectionKeepAlive)
  const keyPair = DHT.keyPair()
  note(create({ keyPair }).defaultKeyPair === keyPair)
  await node.fullyBootstrapped()
  note(await node.destroy(), node.destroyed, await node.destroy())
})

sameNodes('servers', async ({ DHT, create, note }) => {
  const node = create()
  const events = []
  const server = node.createServer()
  for (const name of ['listening', 'close', 'connection']) server.on(name, () => events.push(name))
  note(server.listening, server.closed, server.publicKey, server.address(), server.suspended, server.dht === node)
  note(await server.listen() === server, server.listening, server.publicKey.equals(node.defaultKeyPair.publicKey), server.address().publicKey.equals(server.publicKey))
  note(node.listening.size, node.listening.has(server), await told(() => server.listen()))
  const keyPair = DHT.keyPair()
  const second = await node.createServer().listen(keyPair)
  note(second.publicKey === keyPair.publicKey, node.listening.size, await told(() => node.createServer().listen(keyPair)), node.listening.size)
  note(server.refresh(), await server.close(), server.closed, server.listening, server.publicKey, server.address(), events, node.listening.size)
  note(await server.close(), events.length)
  const unused = node.createServer()
  note(await unused.close(), unused.closed)
  await node.destroy()
  note(second.closed, second.listening, node.listening.size, await told(() => node.createServer().listen()))
})

for (const direction of ['out', 'in']) {
  sameNodes(`a connection, ${direction}`, async ({ create, other, note }) => {
    const node = create()
    const [caller, called] = direction === 'out' ? [node, other] : [other, node]
    const accepted = []
    const server = called.createServer({ onconnection: (connection) => accepted.push(connection) })
    await server.listen()
    const connection = caller.connect(server.publicKey)
    const events = []
    for (const name of ['open', 'connect', 'end', 'close', 'error']) connection.on(name, () => events.push(name))
    note(connection.isInitiator, connection.remotePublicKey.equals(server.publicKey), connection.publicKey.equals(caller.defaultKeyPair.publicKey), connection.connected, connection.keepAlive)
    note(await connection.opened, connection.connected, connection.handshakeHash.byteLength)
    note(connection.rawBytesRead, connection.rawBytesWritten)
    await eventually(() => accepted.length === 1)
    const [answer] = accepted
    answer.on('error', () => {})
    note(answer.rawBytesRead, answer.rawBytesWritten)
    note(answer.isInitiator, answer.remotePublicKey.equals(caller.defaultKeyPair.publicKey), answer.publicKey.equals(server.publicKey), answer.connected)
    note(await answer.opened)
    await eventually(() => answer.handshakeHash !== null)
    note(answer.handshakeHash.equals(connection.handshakeHash), answer.keepAlive, typeof answer.rawStream, answer.userData, connection.noiseStream === connection)
    connection.write('hello')
    note(await first(answer, 'data'))
    answer.on('data', () => {})
    answer.write(Buffer.from('world'))
    note(await first(connection, 'data'), connection.rawBytesRead > 0, connection.rawBytesWritten > 0)
    answer.on('end', () => answer.end())
    const ended = Promise.all([closed(connection), closed(answer)])
    connection.end()
    await ended
    note(events.filter((name) => name !== 'open' && name !== 'connect'), events.includes('open'), events.includes('connect'), connection.destroyed, answer.destroyed)
    const again = caller.connect(server.publicKey.toString('hex'))
    note(await again.opened)
    again.on('error', () => {})
    const errors = []
    await eventually(() => accepted.length === 2)
    accepted[1].on('error', ({ name, code, message }) => errors.push(name, code, message))
    await server.close()
    note(accepted[1].destroyed, again.destroyed)
    // Nobody reads there, and it is over all the same.
    const gone = closed(accepted[1])
    again.destroy()
    await gone
    note(accepted[1].destroyed, errors)
  })
}

for (const direction of ['out', 'in']) {
  sameNodes(`ends of connections, ${direction}`, async ({ create, other, note }) => {
    const node = create()
    const [caller, called] = direction === 'out' ? [node, other] : [other, node]
    const events = []
    const server = called.createServer()
    await server.listen()
    const connected = async (onconnection) => {
      server.once('connection', onconnection)
      const connection = caller.connect(server.publicKey)
      return connection
    }
    const watch = (name, stream) => {
      for (const event of ['end', 'error', 'close']) stream.once(event, (error) => events.push(`${name} ${event} ${error?.code ?? ''}`))
    }
    // Nobody reads, and both hear of the end.
    let answer
    const quiet = await connected((stream) => {
      answer = stream
      watch('answer', stream)
      stream.once('end', () => stream.end())
    })
    watch('call', quiet)
    quiet.end()
    await eventually(() => events.filter((event) => event.includes('close')).length === 2)
    note(events.splice(0).sort(), quiet.destroyed, answer.destroyed)
    // Destroyed as soon as it is open.
    const hasty = await connected((stream) => watch('answer', stream))
    watch('call', hasty)
    hasty.once('open', () => hasty.destroy())
    await eventually(() => events.filter((event) => event.includes('close')).length === 2)
    note(events.splice(0).filter((event) => !event.includes('answer end')).sort())
    // Destroyed before it is open, and once more.
    const early = caller.connect(server.publicKey)
    watch('call', early)
    early.destroy()
    early.destroy()
    note(await early.opened)
    await eventually(() => events.length > 0)
    note(events.splice(0))
    // With an error of the program's.
    const failed = caller.connect(server.publicKey)
    watch('call', failed)
    failed.destroy(Object.assign(new Error('no'), { code: 'NO' }))
    await eventually(() => events.length === 2)
    note(events.splice(0))
    // What was written before the end arrives.
    const parts = []
    let ended = false
    const writing = await connected((stream) => {
      stream.on('error', () => {})
      stream.on('data', (data) => parts.push(data.byteLength))
      stream.on('end', () => {
        ended = true
        stream.end()
      })
    })
    writing.resume()
    const written = closed(writing)
    for (let i = 1; i <= 50; i++) writing.write(Buffer.alloc(i * 100))
    writing.end(Buffer.from('last'))
    await eventually(() => ended)
    note(parts.length, parts.reduce((sum, size) => sum + size, 0), parts.at(-1))
    await written
    note(writing.write('late'), writing.destroyed, await writing.flush())
  })
}

for (const direction of ['out', 'in']) {
  sameNodes(`one end before the other, ${direction}`, async ({ create, other, note }) => {
    const node = create()
    const [caller, called] = direction === 'out' ? [node, other] : [other, node]
    const server = called.createServer()
    await server.listen()
    const connect = async () => {
      const accepted = first(server, 'connection')
      const call = caller.connect(server.publicKey)
      const answer = await accepted
      const events = []
      for (const [name, stream] of [['call', call], ['answer', answer]]) {
        for (const event of ['end', 'finish', 'error', 'close']) stream.on(event, (error) => events.push(`${name} ${event} ${error?.code ?? ''}`))
      }
      await call.opened
      return { call, answer, events }
    }
    const isOver = (events) => eventually(() => events.filter((event) => event.includes('close')).length === 2)

    // One asks and ends, and reads for as long as the other answers.
    const { call, answer, events } = await connect()
    const [asked, answered] = [[], []]
    answer.on('data', (data) => asked.push(data.toString()))
    call.on('data', (data) => answered.push(data.byteLength))
    call.write('question')
    call.end('and more')
    await eventually(() => events.includes('answer end ') && events.includes('call finish '))
    note(asked, [...events].sort(), call.destroyed, answer.destroyed, call.write('late'), call.destroying)
    for (let i = 1; i <= 100; i++) answer.write(Buffer.alloc(i * 500))
    await eventually(() => answered.length === 100)
    note(answered.reduce((sum, size) => sum + size, 0), call.destroyed, answer.destroyed)
    answer.end(Buffer.alloc(7))
    await isOver(events)
    note(answered.at(-1), events.sort(), call.destroyed, answer.destroyed)

    // More than fits anywhere, to one that reads it late.
    const long = await connect()
    long.call.end()
    await eventually(() => long.events.includes('answer end '))
    for (let i = 0; i < 64; i++) long.answer.write(Buffer.alloc(65_536))
    long.answer.end()
    let size = 0
    for await (const data of long.call) size += data.byteLength
    await isOver(long.events)
    note(size, long.events.sort())

    // Both at once.
    const both = await connect()
    both.call.end('a')
    both.answer.end('b')
    note(await Promise.all([both.call, both.answer].map((stream) => first(stream, 'data'))))
    await isOver(both.events)
    note(both.events.sort())

    // Broken off after one has ended.
    for (const [ends, breaks] of [['call', 'answer'], ['call', 'call'], ['answer', 'call']]) {
      const pair = await connect()
      const reads = ends === 'call' ? 'answer' : 'call'
      pair[ends].end()
      await eventually(() => pair.events.includes(`${reads} end `))
      pair[breaks].destroy()
      await isOver(pair.events)
      note(ends, breaks, pair.events.filter((event) => !/finish/.test(event)).sort())
    }
  })
}

sameNodes('nobody there', async ({ DHT, create, note }) => {
  const node = create()
  const connection = node.connect(DHT.keyPair().publicKey)
  const ended = closed(connection)
  note(await fails(connection), await connection.opened)
  await ended
  note(connection.destroyed, connection.connected)
  for (const key of ['nonsense', Buffer.alloc(3)]) note((await told(() => node.connect(key))).error.name)
})

sameNodes('firewalls', async ({ create, other, note }) => {
  const node = create()
  const asked = []
  const answers = [true, Promise.resolve(true), false]
  const server = node.createServer({
    firewall: (publicKey, payload, address) => {
      asked.push(publicKey.equals(other.defaultKeyPair.publicKey))
      return answers[asked.length - 1]
    }
  })
  let connections = 0
  server.on('connection', (connection) => {
    connections++
    connection.on('error', () => {})
    connection.end()
  })
  await server.listen()
  for (let i = 0; i < 2; i++) {
    const refused = other.connect(server.publicKey)
    const error = await first(refused, 'error')
    note(typeof error.code)
  }
  note(connections, asked.length >= 2)
  answers.fill(false)
  const let_in = other.connect(server.publicKey)
  let_in.on('error', () => {})
  note(await let_in.opened)
  await eventually(() => connections === 1)
})

sameNodes('topics', async ({ DHT, create, other, note }) => {
  const node = create()
  const topic = DHT.keyPair().publicKey
  const nobody = []
  for await (const { peers } of node.lookup(topic)) nobody.push(...peers)
  note(nobody)
  const keyPair = DHT.keyPair()
  await node.announce(topic, keyPair, []).finished()
  const find = async (finder) => {
    const keys = new Set()
    const query = finder.lookup(topic)
    for await (const { from, peers } of query) {
      if (!from || typeof from.host !== 'string') throw new Error('nobody answered')
      for (const { publicKey, relayAddresses } of peers) keys.add(`${publicKey.toString('hex')} ${Array.isArray(relayAddresses)}`)
    }
    return keys.size === 1 && keys.has(`${keyPair.publicKey.toString('hex')} true`)
  }
  note(await find(other), await find(node))
  const second = DHT.keyPair()
  await other.announce(topic, second, []).finished()
  await node.unannounce(topic, keyPair)
  const left = new Set()
  for await (const { peers } of node.lookup(topic)) for (const { publicKey } of peers) left.add(publicKey.equals(second.publicKey))
  note([...left])
  await node.announce(topic, keyPair, []).finished()
  await node.lookupAndUnannounce(topic, keyPair).finished()
  const last = new Set()
  for await (const { peers } of other.lookup(topic)) for (const { publicKey } of peers) last.add(publicKey.equals(second.publicKey))
  note([...last])
  const stopped = node.lookup(topic)
  stopped.destroy()
  await closed(stopped)
  note(stopped.destroyed, await node.lookup(topic).finished())
})

sameNodes('pools', async ({ create, other, note }) => {
  const node = create()
  const pool = node.pool()
  const events = []
  pool.on('connection', (connection, ref) => events.push([connection.isInitiator, typeof ref.release]))
  const server = other.createServer((connection) => { connection.on('error', () => {}) })
  await server.listen()
  note(pool.connecting, [...pool.connections].length, pool.has(server.publicKey), pool.get(server.publicKey))
  const one = node.connect(server.publicKey, { pool })
  note(pool.connecting, node.connect(server.publicKey, { pool }) === one, pool.has(server.publicKey), pool.get(server.publicKey) === one)
  note(await one.opened)
  await eventually(() => pool.connecting === 0)
  note([...pool.connections].length, events)
  const [ref] = pool.connections
  one.on('error', () => {})
  ref.active()
  ref.inactive()
  ref.release()
  await closed(one)
  note(pool.has(server.publicKey), [...pool.connections].length)
})

sameNodes('suspended, resumed and destroyed', async ({ DHT, create, other, note }) => {
  const node = create()
  await node.fullyBootstrapped()
  const events = []
  for (const name of ['suspend', 'resume', 'close']) node.on(name, () => events.push(name))
  const server = node.createServer((connection) => { connection.on('error', () => {}) })
  await server.listen()
  const call = other.connect(server.publicKey)
  call.on('error', () => {})
  await call.opened
  const ended = closed(call)
  const before = other.createServer((connection) => { connection.on('error', () => {}) })
  await before.listen(DHT.keyPair())
  const dialled = node.connect(before.publicKey)
  const heard = []
  for (const name of ['error', 'close']) dialled.on(name, () => heard.push(name))
  await dialled.opened
  await node.suspend()
  note(heard, dialled.destroyed)
  await ended
  note(node.suspended, server.suspended, events, await fails(node.connect(other.defaultKeyPair.publicKey)))
  await node.resume()
  note(node.suspended, server.suspended, events)
  await eventually(async () => {
    const again = other.connect(server.publicKey)
    again.on('error', () => {})
    return await again.opened
  })
  const remote = other.createServer((connection) => { connection.on('error', () => {}) })
  await remote.listen()
  const out = node.connect(remote.publicKey)
  out.on('error', () => {})
  await out.opened
  out.on('close', () => events.push('connection close'))
  await node.destroy()
  note(out.destroyed)
  note(node.destroyed, server.closed, events)
})
