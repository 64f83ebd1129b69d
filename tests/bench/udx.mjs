// Figures of one UDX stream between two processes, each ours or upstream's: node udx.mjs SENDER RECEIVER. Prints NAME, VALUE and
// UNIT, a line each.
//
// The path is loopback, alone and with `udx-path` between: 20 ms of round trip, and losses on top. Processor times are those of
// the process alone, from /proc. Nothing is encrypted or looked at.

import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

import { releaseProgram } from '../../scripts/lib/cargo.mjs'
import { JsonProcess } from '../../scripts/lib/json-process.mjs'

const MIB = 1024 * 1024

/** Name, one way's delay in microseconds, losses of a thousand datagrams in both directions, and bytes. */
const PATHS = [
  { name: 'loopback', bytes: 256 * MIB },
  { name: '20 ms', delay: 10_000, losses: 0, bytes: 96 * MIB },
  { name: '20 ms, 1 % lost', delay: 10_000, losses: 10, bytes: 64 * MIB }
]

/** Clock ticks of /proc a second, as Linux has them everywhere. */
const TICKS = 100

const PATIENCE = 120_000

const [sender, receiver] = process.argv.slice(2)
for (const path of PATHS) await measure(path)
process.exit(0)

/** @param {{ name: string, bytes: number, delay?: number, losses?: number }} path */
async function measure ({ name, delay, losses, bytes }) {
  const from = await start(sender)
  const to = await start(receiver)
  const path = delay === undefined
    ? null
    : new JsonProcess(await releaseProgram('udx-path'), [delay, losses, from.port, to.port].map(String))
  const ports = path ? await path.next('ready') : { a: to.port, b: from.port }
  await to.process.ask('connect', { stream: to.stream, port: ports.b, remote: from.stream })
  await from.process.ask('connect', { stream: from.stream, port: ports.a, remote: to.stream })

  const before = [from, to].map(processorTime)
  const started = performance.now()
  await from.process.ask('send', { stream: from.stream, bytes, end: true })
  const { received } = await to.process.next('end', { patience: PATIENCE })
  const seconds = (performance.now() - started) / 1000
  if (received !== bytes) throw new Error(`${received} of ${bytes} bytes arrived`)
  const used = [from, to].map((side, index) => (processorTime(side) - before[index]) / (bytes / MIB))

  print(name, bytes / 1e6 / seconds, 'MB/s')
  print(`${name}, processor of the sender`, used[0], 'ms/MiB')
  print(`${name}, processor of the receiver`, used[1], 'ms/MiB')
  for (const child of [from.process, to.process, path]) await child?.kill()
}

async function start (kind) {
  const process = kind === 'ours'
    ? new JsonProcess(await releaseProgram('udx-peer'), ['--bare'])
    : new JsonProcess('node', [fileURLToPath(new URL('./udx-upstream.mjs', import.meta.url))])
  return { process, ...await process.ask('open') }
}

/** Milliseconds of processor time that a process has used. */
function processorTime ({ process: { pid } }) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ')
  return (Number(fields[11]) + Number(fields[12])) * 1000 / TICKS
}

function print (name, value, unit) {
  console.log(`${name}\t${value}\t${unit}`)
}
