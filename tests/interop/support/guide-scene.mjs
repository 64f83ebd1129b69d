// Follows the guide of the relay as it is written, on a machine of its own (`unshare --net --mount`): with its own files in the
// places that the guide names, and the nodes that the public DHT starts from at their addresses, out of anybody's reach.
//
// Arguments: an empty folder, the built relay. Prints {"ready","checked","health","met"}.

import { execFileSync, spawn } from 'node:child_process'
import { chmodSync, copyFileSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

import DHT from 'hyperdht'
import Hyperswarm from 'hyperswarm'

import { makeCertificate } from './certificates.mjs'

const [folder, program] = process.argv.slice(2)
const root = fileURLToPath(new URL('../../../', import.meta.url))
const path = (...names) => join(folder, ...names)
const name = 'relay.example.org'
const [ours, gateway] = ['203.0.113.7', '203.0.113.1']
const bootstrap = ['88.99.3.86', '142.93.90.113', '138.68.147.8']

const guide = readFileSync(join(root, 'relay', 'README.md'), 'utf8')
const steps = [...guide.matchAll(/^ *```sh\n(.*?)^ *```$/gms)].map(([, text]) => text.replace(/^ {3}/gm, ''))
if (steps.length < 4) throw new Error('The guide has no commands.')

const sh = (line) => execFileSync('sh', ['-ec', line], { stdio: ['ignore', 'ignore', 'inherit'], env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` } })
// The server is a namespace inside of this one, which is the internet.
sh(`mkdir -p /run/netns && mount -t tmpfs tmpfs /run/netns && ip link set lo up
  ip netns add server && ip -n server link set lo up && ip link add wire type veth peer name eth0 netns server
  ip addr add ${gateway}/24 dev wire && ip link set wire up
  ip -n server addr add ${ours}/24 dev eth0 && ip -n server link set eth0 up && ip -n server route add default via ${gateway}`)
for (const host of ['20.0.0.9', ...bootstrap]) sh(`ip addr add ${host}/32 dev lo`)
sh(`mount -t tmpfs tmpfs ${folder}`)
for (const [place, label] of [['/etc', 'etc'], ['/usr/local/bin', 'bin'], ['/var/lib', 'lib']]) {
  mkdirSync(path(label, 'upper'), { recursive: true })
  mkdirSync(path(label, 'work'))
  sh(`mount -t overlay overlay -o lowerdir=${place},upperdir=${path(label, 'upper')},workdir=${path(label, 'work')} ${place}`)
}
mkdirSync('/etc/ssl/relay', { recursive: true })
const { root: authority } = makeCertificate('/etc/ssl/relay', [`DNS:${name}`])
// As authorities leave it.
chmodSync('/etc/ssl/relay/privkey.pem', 0o600)
writeFileSync('/etc/hosts', `127.0.0.1 localhost\n${ours} ${name}\n`)

// What the commands stand on: the repository, a `cargo` that has built already, and a `systemctl` that does what the unit says.
mkdirSync(path('repository', 'target', 'release'), { recursive: true })
mkdirSync(path('commands'))
symlinkSync(join(root, 'relay'), path('repository', 'relay'))
command('cargo', `[ "$*" = "build --release --locked -p hypertab-relay" ] && cp '${program}' target/release/hypertab-relay`)
command('systemctl', `[ "$*" = "enable --now hypertab-relay" ] && touch '${path('started')}'`)
const env = { ...process.env, PATH: `${path('commands')}:${process.env.PATH}:/usr/sbin`, CURL_CA_BUNDLE: authority }

const nodes = []
for (const host of bootstrap) {
  const node = new DHT({ ephemeral: false, firewalled: false, bootstrap: [...nodes], host, port: 49_737, anyPort: false })
  await node.fullyBootstrapped()
  nodes.push({ host, port: 49_737 })
}

const said = []
for (const step of steps) {
  said.push(await run(step))
  if (step.includes('systemctl')) await startUnit()
}

const friend = new Hyperswarm({ dht: new DHT({ bootstrap: nodes, host: '20.0.0.9', firewalled: false }) })
const topic = Buffer.alloc(32, 5)
friend.on('connection', (stream) => {
  stream.on('error', () => {})
  stream.write('hello')
})
await friend.join(topic, { client: false }).flushed()
const tab = spawn(process.execPath, ['--input-type=module', '-e', `
  import { Hyperswarm } from 'hypertab'
  const swarm = new Hyperswarm({ relay: 'wss://${name}' })
  swarm.join(Buffer.alloc(32, 5), { server: false })
  swarm.on('connection', (stream) => stream.on('data', (data) => { console.log(String(data)); process.exit(0) }))
`], { cwd: join(root, 'tests'), env: { ...process.env, NODE_EXTRA_CA_CERTS: authority }, stdio: ['ignore', 'pipe', 'inherit'] })
const met = await output(tab)
const health = await run('hypertab-relay health --config /etc/hypertab-relay.toml && echo well')
console.log(JSON.stringify({ ready: said.at(-1).trim(), checked: said[1].includes('public-address = "203.0.113.7:49737"'), health: health.trim(), met: met.trim() }))
process.exit(0)

function command (label, text) {
  copyFileSync('/bin/true', path('commands', label))
  writeFileSync(path('commands', label), `#!/bin/sh\nset -e\n${text}\n`)
  chmodSync(path('commands', label), 0o755)
}

function run (text) {
  return output(spawn('nsenter', ['--net=/run/netns/server', 'sh', '-ec', text], { cwd: path('repository'), env, stdio: ['ignore', 'pipe', 'inherit'] }))
}

async function output (child) {
  let text = ''
  child.stdout.on('data', (data) => { text += data })
  const code = await new Promise((resolve) => child.on('close', resolve))
  if (code !== 0) throw new Error(`a step of the guide failed with ${code}: ${text}`)
  return text
}

/** Does what systemd does with the unit that the guide has put in its place. */
async function startUnit () {
  const unit = readFileSync('/etc/systemd/system/hypertab-relay.service', 'utf8')
  const all = (key) => [...unit.matchAll(new RegExp(`^${key}=(.*)$`, 'gm'))].map(([, value]) => value)
  const variables = Object.fromEntries(all('Environment').map((line) => line.split(/=(.*)/s).slice(0, 2)))
  const state = `/var/lib/${all('StateDirectory')[0]}`
  // The user that there is by the name of the unit, and no other rights than that one has.
  const user = ['setpriv', '--reuid=hypertab-relay', '--regid=hypertab-relay', '--init-groups', ...all('AmbientCapabilities').map((name) => name.toLowerCase().replace('cap_', '+'))
    .flatMap((name) => [`--inh-caps=-all,${name}`, `--ambient-caps=-all,${name}`])]
  await run(`mkdir -p ${state} && chown hypertab-relay: ${state}`)
  for (const line of all('ExecStartPre')) await run([...user, line].join(' '))
  spawn('nsenter', ['--net=/run/netns/server', ...user, ...all('ExecStart')[0].split(' ')], { env: { ...process.env, ...variables }, stdio: ['ignore', 'ignore', 'inherit'] })
}
