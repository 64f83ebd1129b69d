// The guide "in five minutes" does what it says, and what is shipped for operators fits what there is.

import assert from 'node:assert/strict'
import { execFile, execFileSync } from 'node:child_process'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

import { temporaryFolder } from './support/folder.mjs'
import { OWN_MACHINE, missing, withoutNetworks } from './support/programs.mjs'
import { relayProgram } from './support/relay.mjs'

const root = fileURLToPath(new URL('../../', import.meta.url))
const deploy = (name) => readFileSync(join(root, 'relay', 'deploy', name), 'utf8')

test('the commands of the guide, one after the other, lead to a relay that a page uses', {
  timeout: 120_000,
  skip: withoutNetworks() || missing('curl', 'openssl', 'nsenter')
}, async (t) => {
  const scene = fileURLToPath(new URL('./support/guide-scene.mjs', import.meta.url))
  const args = [...OWN_MACHINE, scene, temporaryFolder(t), await relayProgram()]
  const { stdout } = await promisify(execFile)('unshare', args, { timeout: 110_000 })

  assert.deepEqual(JSON.parse(stdout.trim().split('\n').at(-1)), { ready: 'ready', checked: true, health: 'well', met: 'hello' })
})

test('the image is made of files that are there, and of settings and commands that the relay knows', async () => {
  const lines = deploy('Dockerfile').split('\n').filter((line) => line && !line.startsWith('#'))
  const words = (instruction) => lines.filter((line) => line.startsWith(`${instruction} `)).map((line) => line.split(/\s+/).slice(1))
  const known = new Set(['FROM', 'RUN', 'WORKDIR', 'COPY', 'USER', 'VOLUME', 'ENV', 'EXPOSE', 'HEALTHCHECK', 'ENTRYPOINT'])
  for (const line of lines) assert.ok(known.has(line.split(' ')[0]), line)

  const copied = words('COPY').filter(([first]) => !first.startsWith('--from=')).flatMap((all) => all.slice(0, -1))
  for (const file of copied) assert.ok(existsSync(join(root, file)), `${file} is copied and does not exist`)
  // All members of the workspace: cargo wants to see each of them.
  const members = /^members = \[(.*)\]$/m.exec(readFileSync(join(root, 'Cargo.toml'), 'utf8'))[1].split(', ').map((name) => name.slice(1, -1))
  for (const member of members) assert.ok(copied.some((file) => member === file || dirname(member) === file), `${member} is not copied`)

  const environment = Object.fromEntries(words('ENV').map(([pair]) => pair.split('=')))
  const settings = execFileSync(await relayProgram(), ['check-config'], { env: environment }).toString()
  for (const [name, value] of Object.entries(environment)) assert.match(settings, new RegExp(`"${value.replaceAll('.', '\\.')}" # ${name}`))
  assert.deepEqual(words('USER'), [['65532:65532']])
  const [health] = words('HEALTHCHECK')
  const check = JSON.parse(health.slice(health.indexOf('CMD') + 1).join(' '))
  assert.deepEqual(JSON.parse(words('ENTRYPOINT')[0].join(' ')), check.slice(0, 1))
  assert.equal(check[1], 'health')
  assert.ok(statSync(join(root, 'relay', 'deploy', 'build-static.sh')).mode & 0o100)
  assert.match(lines.join('\n'), /^RUN sh relay\/deploy\/build-static\.sh \/out$/m)
})

test('the licences of what others wrote of the relay are to be had', (t) => {
  const file = join(temporaryFolder(t), 'notices.txt')
  execFileSync(process.execPath, [join(root, 'scripts', 'relay-notices.mjs'), file])
  const notices = readFileSync(file, 'utf8')

  const tree = execFileSync('cargo', ['tree', '--locked', '-p', 'hypertab-relay', '--edges', 'normal,no-proc-macro', '--prefix', 'none'], { cwd: root }).toString()
  const crates = [...new Set(tree.split('\n').filter((line) => line && !line.startsWith('hypertab')).map((line) => line.replace(/ v(\S+).*/, ' $1')))]
  assert.ok(crates.length > 80)
  assert.deepEqual(crates.filter((crate) => !notices.includes(`\n  ${crate} (`)), [])
  assert.match(notices, /\bring \d[^]*BoringSSL/, 'and whose code those have')
  assert.match(notices, /the fiat-crypto authors/)
})

test('systemd takes the unit', { skip: missing('systemd-analyze') }, (t) => {
  const unit = deploy('hypertab-relay.service').replaceAll('/usr/local/bin/hypertab-relay', process.execPath)
  const file = join(temporaryFolder(t), 'hypertab-relay.service')
  execFileSync('sh', ['-c', `cat > ${file}`], { input: unit })
  execFileSync('systemd-analyze', ['verify', '--recursive-errors=no', file], { stdio: 'pipe' })
})
