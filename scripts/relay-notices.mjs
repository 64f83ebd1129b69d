// Writes the licences of what the relay is made of, for whoever hands its program on: node scripts/relay-notices.mjs FILE [TARGET]
//
// Takes nothing but cargo: the image of the relay is built where there are no packages of npm.

import { writeFileSync } from 'node:fs'

import { Failure, main, run } from './lib/run.mjs'
import { compiledCrates, noticesOf } from './lib/notices.mjs'

await main(async () => {
  const [file, target = await hostTarget()] = process.argv.slice(2)
  if (file === undefined) throw new Failure('say where to write to: node scripts/relay-notices.mjs FILE [TARGET]')
  writeFileSync(file, noticesOf(
    'hypertab-relay has code of these packages in it, which are under licences of their own: those that follow.',
    { 'Crates of Rust': await compiledCrates('hypertab-relay', target) }
  ))
})

async function hostTarget () {
  return /^host: (.*)$/m.exec(await run('rustc', ['-vV'], { capture: true }))[1]
}
