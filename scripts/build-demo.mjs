// Builds the demo page into web-demo/dist, a folder that any web server can serve: npm run build:demo
//
//   npm run build:demo                                  the relay's address is one line of web-demo/dist/config.json
//   npm run build:demo -- --relay wss://relay.example   writes that line

import { readdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'

import { build, buildDemo } from './build.mjs'
import { Failure, main, root, say } from './lib/run.mjs'
import { ensureTools } from './setup.mjs'

const dist = join(root, 'web-demo', 'dist')

await main(async () => {
  const relay = readRelay()
  await ensureTools()
  await build()
  await buildDemo()
  if (relay !== undefined) writeFileSync(join(dist, 'config.json'), `${JSON.stringify({ relay })}\n`)
  say(`the page is in web-demo/dist, ${(sizeOf(dist) / 1e6).toFixed(1)} MB; put all of it on a web server, and the relay's address into config.json`)
})

function readRelay () {
  let relay
  try {
    relay = parseArgs({ options: { relay: { type: 'string' } } }).values.relay
  } catch (error) {
    throw new Failure(`${error.message}; npm run build:demo takes --relay wss://…, after a --`)
  }
  if (relay !== undefined && !/^wss?:\/\//.test(relay)) throw new Failure(`--relay takes an address that begins with wss:// or ws://, not ${relay}`)
  return relay
}

function sizeOf (folder) {
  return readdirSync(folder, { withFileTypes: true }).reduce((sum, entry) => {
    const path = join(folder, entry.name)
    return sum + (entry.isDirectory() ? sizeOf(path) : statSync(path).size)
  }, 0)
}
