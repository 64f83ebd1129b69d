// An internet of a few namespaces, which a test runs this in (`unshare --net --mount`): hosts with public addresses, hosts
// behind routers of several kinds, and nothing that leads outside. Prints one JSON line for each pair of peers.
//
// Arguments: the program of the relay, that of our DHT peer, and which pairs: `direct` (those that find a path
// themselves), `random` (those of which one has a port for every destination), `upgraded`
// (such ones that begin at a relay) or `relayed` (both have).

import { execFileSync } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

import DHT from 'hyperdht'

import { JsonProcess } from '../../../scripts/lib/json-process.mjs'

const [relayProgram, ourProgram, wanted] = process.argv.slice(2)
const nodes = ['20.0.1.1', '20.0.1.2', '20.0.1.3', '20.0.1.4', '20.0.1.5', '20.0.1.6']
const relayHost = '20.0.0.2'
const blindHost = '20.0.0.3'
const patience = 120_000

const sh = (line) => execFileSync('sh', ['-ec', line], { stdio: ['ignore', 'ignore', 'inherit'], env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` } })

// What is private stays so: names of namespaces are files, in a folder of this mount namespace.
sh('mkdir -p /run/netns && mount -t tmpfs tmpfs /run/netns && ip link set lo up && sysctl -qw net.ipv4.ip_forward=1')
for (const host of [...nodes, relayHost, blindHost]) sh(`ip addr add ${host}/32 dev lo`)

const bootstrap = []
for (const host of nodes) {
  const node = new DHT({ ephemeral: false, firewalled: false, bootstrap: [...bootstrap], host })
  await node.fullyBootstrapped()
  if (bootstrap.length < 3) bootstrap.push({ host, port: node.address().port })
}
const addresses = bootstrap.map(({ host, port }) => `${host}:${port}`)

const relayPort = 40_000
const relay = new JsonProcess(relayProgram, [
  '--listen', `${relayHost}:0`, '--udp', `${relayHost}:${relayPort}`, '--public-address', `${relayHost}:${relayPort}`, '--blind-relay',
  ...addresses.flatMap((address) => ['--bootstrap', address])
])
const { url } = await relay.next('listening')
const ourBlindRelay = (await relay.next('blind-relay')).key

let networks = 0

/** Makes a host, and returns the start of a command line that runs there. */
function host (kind) {
  const number = ++networks
  const [inside, router] = [`host${number}`, `router${number}`]
  const outside = `20.1.${number}`
  sh(`ip netns add ${inside} && ip -n ${inside} link set lo up`)
  if (kind === 'open') {
    sh(`ip link add wan${number} type veth peer name eth0 netns ${inside}
      ip addr add ${outside}.1/24 dev wan${number} && ip link set wan${number} up
      ip -n ${inside} addr add ${outside}.2/24 dev eth0 && ip -n ${inside} link set eth0 up
      ip -n ${inside} route add default via ${outside}.1`)
    return { enter: ['ip', 'netns', 'exec', inside], address: `${outside}.2` }
  }
  sh(`ip netns add ${router} && ip -n ${router} link set lo up
    ip link add wan${number} type veth peer name wan netns ${router}
    ip addr add ${outside}.1/24 dev wan${number} && ip link set wan${number} up
    ip -n ${router} addr add ${outside}.2/24 dev wan && ip -n ${router} link set wan up
    ip -n ${router} route add default via ${outside}.1
    ip -n ${router} link add lan type veth peer name eth0 netns ${inside}
    ip -n ${router} addr add 192.168.${number}.1/24 dev lan && ip -n ${router} link set lan up
    ip -n ${inside} addr add 192.168.${number}.2/24 dev eth0 && ip -n ${inside} link set eth0 up
    ip -n ${inside} route add default via 192.168.${number}.1
    ip netns exec ${router} sysctl -qw net.ipv4.ip_forward=1
    ip netns exec ${router} nft -f - <<'RULES'
table ip nat {
  chain outwards {
    type nat hook postrouting priority srcnat
    oifname "wan" masquerade ${kind === 'symmetric' ? 'fully-random' : ''}
  }
}
table ip filter {
  # What comes uninvited is not remembered: remembered, it would take the port of the connection that is to come.
  chain uninvited { type filter hook input priority filter; iifname "wan" udp dport 1-65535 drop; }
  chain through { type filter hook forward priority filter; ${kind === 'blocked' ? 'meta l4proto udp drop;' : ''} iifname "wan" ct state new drop; }
}
RULES`)
  return { enter: ['ip', 'netns', 'exec', inside], address: `192.168.${number}.2`, outside: `${outside}.2` }
}

/** Starts a peer on a host of its own. */
async function peer (maker, kind) {
  const place = kind === 'relay' ? { enter: [], address: blindHost } : host(kind)
  const program = maker === 'ours' ? [ourProgram] : [process.execPath, fileURLToPath(new URL('./nat-peer.mjs', import.meta.url))]
  const [first, ...rest] = [...place.enter, ...program]
  const child = new JsonProcess(first, rest)
  const isOpen = kind === 'open' || kind === 'relay'
  await child.ask('start', {
    kind: maker,
    bootstrap: addresses,
    host: isOpen || maker === 'ours' ? place.address : undefined,
    relay: url,
    ...(isOpen && maker === 'upstream' ? { firewalled: false } : {})
  }, patience)
  if (maker === 'ours') await child.next('bootstrapped')
  return { name: `${maker} ${kind}`, maker, kind, place, child, servers: 0 }
}

let seeds = 0
const seed = () => (++seeds).toString(16).padStart(64, '0')

/** Connects two peers and reports how it went. */
async function pair (client, server, options = {}) {
  console.log(JSON.stringify(await outcome(client, server, options)))
}

/** Connects two peers and returns how it went. */
async function outcome (client, server, options = {}) {
  const started = Date.now()
  const name = `${client.name} → ${server.name}${options.by ? ` by ${options.by}` : ''}`
  try {
    const { publicKey } = await server.child.ask('listen', { seed: seed(), ...options.server }, patience)
    const { received, remote } = await client.child.ask('connect', { key: publicKey, seed: seed(), bytes: 100_000, lan: false, ...options.client }, patience)
    return { name, received, remote, ms: Date.now() - started }
  } catch (error) {
    return { name, error: error.message, ms: Date.now() - started }
  }
}

if (wanted === 'direct') {
  const kinds = ['open', 'cone', 'symmetric']
  const theirs = await Promise.all(kinds.map((kind) => peer('upstream', kind)))
  const ours = await Promise.all(kinds.map((kind) => peer('ours', kind)))
  const tab = await peer('tab', 'blocked')
  const isRandom = (one, other) => [one, other].some(({ kind }) => kind === 'symmetric') && [one, other].every(({ kind }) => kind !== 'open' && kind !== 'blocked')
  for (const one of [...ours, tab]) {
    for (const other of [...theirs, ...(one === tab ? ours : [])]) {
      if (isRandom(one, other)) continue
      await pair(one, other)
      await pair(other, one)
    }
  }
} else if (wanted === 'random') {
  // A punch of random ports is tried once in 20 seconds by each: so each pair has peers of its own.
  await Promise.all([['ours', 'cone', 'upstream', 'symmetric'], ['ours', 'symmetric', 'upstream', 'cone'],
    ['upstream', 'cone', 'ours', 'symmetric'], ['upstream', 'symmetric', 'ours', 'cone'], ['ours', 'symmetric', 'ours', 'cone']
  ].map(async ([maker, kind, other, otherKind]) => {
    const dial = async () => await outcome(await peer(maker, kind), await peer(other, otherKind))
    const result = await dial()
    // 1,750 tries among 64,536 ports, 256 of which are open, miss all of them once in a thousand: who dials again is connected.
    console.log(JSON.stringify(/HOLEPUNCH_/.test(result.error) ? await dial() : result))
  }))
} else if (wanted === 'upgraded') {
  const options = { by: 'a relay and then directly', client: { relayThrough: ourBlindRelay, leaves: relayHost, stay: true } }
  const dialled = async () => {
    const [client, server] = [await peer('ours', 'cone'), await peer('upstream', 'symmetric')]
    const result = await outcome(client, server, options)
    if (result.error) return result
    await client.child.next('upgraded', { patience })
    const closed = await Promise.race([client.child.next('closed', { patience }), sleep(10_000, false)])
    return closed ? { ...result, error: `closed after the upgrade: ${JSON.stringify(closed)}` } : result
  }
  const served = async () => await outcome(await peer('upstream', 'cone'), await peer('ours', 'symmetric'), options)
  await Promise.all([dialled(), served()].map(async (result) => console.log(JSON.stringify(await result))))
} else {
  const theirBlindRelay = (await (await peer('upstream', 'relay')).child.ask('serveBlindRelay', { seed: seed() }, patience)).publicKey
  const [upstream, other, ours] = await Promise.all(['upstream', 'upstream', 'ours'].map((maker) => peer(maker, 'symmetric')))
  // Without a relay it cannot be done, or the networks would not be what they are meant to be.
  await pair(ours, upstream, { by: 'nobody' })
  for (const [by, relayThrough] of [['upstream', theirBlindRelay], ['ours', ourBlindRelay]]) {
    for (const [client, server] of [[upstream, other], [ours, upstream], [upstream, ours]]) {
      await pair(client, server, { by: `${by}, whom the client names`, client: { relayThrough } })
      await pair(client, server, { by: `${by}, whom the server names`, server: { relayThrough } })
    }
  }
  const tab = await peer('tab', 'blocked')
  for (const relayThrough of [theirBlindRelay, ourBlindRelay]) await pair(tab, upstream, { by: 'a server that wants a relay', server: { relayThrough } })
}
process.exit(0)
