// A UDX stream, ours or upstream's, and a TCP stream of the kernel through one drop-tail queue: node fairness.mjs SIDE [CONTROL]. Prints NAME, VALUE and
// UNIT, a line each: how much of the path each stream has, by queue, and by which of the two came when the other had filled it.
//
// Takes root on Linux: the path lies between network devices of its own (`ip-path`), on a machine of its own (`unshare`). CONTROL is the congestion
// control of TCP, as `cubic`; where the machine lets nobody choose that, its default is used. Which one it was is printed.

import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

import { releaseProgram } from '../../scripts/lib/cargo.mjs'
import { JsonProcess } from '../../scripts/lib/json-process.mjs'
import { OWN_MACHINE, withoutNetworks } from '../interop/support/programs.mjs'

const [side, control = 'cubic', ...programs] = process.argv.slice(2)
if (programs.length === 0) {
  const lacking = withoutNetworks()
  if (lacking) throw new Error(lacking)
  const peer = side === 'ours' ? await releaseProgram('udx-peer') : process.execPath
  execFileSync('unshare', [...OWN_MACHINE, fileURLToPath(import.meta.url), side, control, await releaseProgram('ip-path'), peer], { stdio: 'inherit' })
  process.exit(0)
}
const [pathProgram, peerProgram] = programs

const RATE = 2_000_000
const ONE_WAY_MICROS = 20_000
/** Bytes of queue, as multiples of what the path itself holds. */
const QUEUES = [0.5, 1, 2, 4]
const HELD = RATE * 2 * ONE_WAY_MICROS / 1e6

/** The first stream fills the path for so long; then they share it, and are measured once they have settled. */
const [ALONE_MS, SETTLING_MS, MEASURED_MS] = [4000, 10_000, 20_000]
const PATIENCE = 60_000

const sh = (line) => execFileSync('sh', ['-ec', line], { stdio: ['ignore', 'ignore', 'inherit'], env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` } })

sh('mkdir -p /run/netns && mount -t tmpfs tmpfs /run/netns && ip link set lo up')
const setting = '/proc/sys/net/ipv4/tcp_congestion_control'
try {
  writeFileSync(setting, control)
} catch (error) {
  // A machine may keep some for its first network.
  if (error.code !== 'EPERM') throw error
}
const tcpIs = readFileSync(setting, 'utf8').trim()
const cases = QUEUES.flatMap((queue) => ['TCP', 'UDX'].map((late) => ({ queue, late })))
const shares = await Promise.all(cases.map((scene, index) => share(scene, index + 1)))
for (const [index, { queue, late }] of cases.entries()) {
  for (const [stream, part] of Object.entries(shares[index])) print(`${stream} (${tcpIs}), queue ${queue} ×, ${late} late`, part, 'of the path')
}
process.exit(0)

async function share ({ queue, late }, number) {
  const [near, far, place] = [`near${number}`, `far${number}`, `place${number}`]
  const [here, there] = [`10.9.${number}.1`, `10.9.${number}.2`]
  const path = new JsonProcess(pathProgram, [RATE, ONE_WAY_MICROS, Math.round(HELD * queue), near, far].map(String))
  await path.next('ready', { patience: PATIENCE })
  sh(`ip netns add ${place} && ip link set ${far} netns ${place}
    ip link set ${near} txqueuelen 10000 && ip addr add ${here} peer ${there} dev ${near} && ip link set ${near} up
    ip -n ${place} link set lo up && ip -n ${place} link set ${far} txqueuelen 10000
    ip -n ${place} addr add ${there} peer ${here} dev ${far} && ip -n ${place} link set ${far} up`)
  const enter = ['ip', 'netns', 'exec', place]

  const args = side === 'ours' ? ['--bare'] : [besides('udx-upstream.mjs')]
  const udx = async () => {
    const sender = new JsonProcess(peerProgram, [...args, `--host=${here}`])
    const receiver = new JsonProcess(enter[0], [...enter.slice(1), peerProgram, ...args, `--host=${there}`])
    const [from, to] = [await sender.ask('open', {}, PATIENCE), await receiver.ask('open', {}, PATIENCE)]
    await receiver.ask('connect', { stream: to.stream, host: here, port: from.port, remote: from.stream })
    await sender.ask('connect', { stream: from.stream, host: there, port: to.port, remote: to.stream })
    await sender.ask('send', { stream: from.stream, bytes: 1 << 30, end: true })
  }
  const tcp = async () => {
    const sink = new JsonProcess(enter[0], [...enter.slice(1), process.execPath, besides('tcp-sink.mjs'), there])
    const { port } = await sink.next('listening', { patience: PATIENCE })
    const socket = connect(port, there)
    const bytes = Buffer.alloc(65_536)
    const write = () => { while (socket.write(bytes)); }
    socket.on('connect', write).on('drain', write)
  }

  const [first, second] = late === 'TCP' ? [udx, tcp] : [tcp, udx]
  await first()
  await sleep(ALONE_MS)
  await second()
  await sleep(SETTLING_MS)
  const [before, started] = [await path.ask('figures'), performance.now()]
  await sleep(MEASURED_MS)
  const [after, seconds] = [await path.ask('figures'), (performance.now() - started) / 1000]
  const part = (kind) => (after[kind] - before[kind]) / seconds / RATE
  return { TCP: part('tcp'), UDX: part('udp') }
}

function besides (file) {
  return fileURLToPath(new URL(file, import.meta.url))
}

function print (name, value, unit) {
  console.log(`${name}\t${value}\t${unit}`)
}
