// The long runs of what `npm test` runs for seconds.
//
//   npm run soak                       100,000 operations of a log against a model, on each disk
//   npm run soak -- redb 1000000 7     one disk, the operations, the seed
//   npm run soak -- chromium 100000 7  a log against a list in Chromium, with workers and pages that crash: the operations, the seed
//   npm run soak -- swarm 5000 7       a mesh of five peers whose links come and go: the steps, the seed
//   npm run soak -- large 4096         a copy of a log of that many MiB, with bounded memory
//   npm run soak -- opening 10000000   what opening a log of that many blocks costs
//   npm run soak -- bee 100000 7       a bee against an ordered map, with crashes: the operations, the seed
//   npm run soak -- drive 100000 7     a drive against a folder, with crashes: the steps, the seed
//   npm run soak -- sparse 1024        parts of a file of that many MiB in a drive of a peer
//   npm run soak -- relay --minutes 30 500 tabs that come and go at a relay, for that long
//   npm run fuzz                       a million inputs for each decoder and machine
//   npm run fuzz -- engine 100000 7    one target, the inputs, the seed
//
// A failure prints how to see it again.

import { build } from './build.mjs'
import { main, run } from './lib/run.mjs'
import { ensureTools } from './setup.mjs'

await main(async () => {
  const [kind, ...rest] = process.argv.slice(2)
  const at = rest.indexOf('--minutes')
  const minutes = at < 0 ? '10' : rest.splice(at, 2)[1]
  const isNumber = (text) => /^[0-9_]+$/.test(text)
  const name = rest.find((text) => !isNumber(text))
  const [count, seed] = rest.filter(isNumber).map((text) => text.replaceAll('_', ''))
  if (kind === 'fuzz') {
    return await rust('fuzz_replay', { HYPERTAB_TARGET: name, HYPERTAB_FUZZ: count ?? '1000000', HYPERTAB_SEED: seed })
  }
  if (name === 'chromium') return await node('log-model', { HYPERTAB_SOAK: count ?? '100000', HYPERTAB_SEED: seed }, 'browser')
  if (name === 'swarm') return await node('swarm-churn', { HYPERTAB_SWARM: count ?? '3000', HYPERTAB_SEED: seed })
  if (name === 'large') return await node('large-core', { HYPERTAB_LARGE: count ?? '4096' })
  if (name === 'opening') return await rust('opening_cost', { HYPERTAB_OPENING: count ?? '10000000' })
  if (name === 'bee') return await rust('suite', { BEE_OPS: count ?? '100000', SEED: seed }, 'bee_is_an_ordered_map_that_outlives_crashes')
  if (name === 'drive') return await node('js-drive-model', { HYPERTAB_DRIVE_STEPS: count ?? '100000', HYPERTAB_SEED: seed })
  if (name === 'sparse') return await node('js-drive-sparse', { HYPERTAB_LARGE_MIB: count ?? '1024' })
  if (name === 'relay') return await node('relay-soak', { HYPERTAB_MINUTES: minutes })
  await rust('log_model', { HYPERTAB_DISK: name, HYPERTAB_SOAK: count ?? '100000', HYPERTAB_SEED: seed })
})

async function rust (file, variables, ...tests) {
  await run('cargo', ['test', '--workspace', '--all-features', '--locked', '--test', file, '--', '--nocapture', ...tests], { env: given(variables) })
}

async function node (test, variables, folder = 'interop') {
  await ensureTools()
  await build()
  await run('node', ['--test', '--test-reporter=spec', `tests/${folder}/${test}.test.mjs`], { env: given(variables) })
}

function given (variables) {
  return Object.fromEntries(Object.entries(variables).filter(([, value]) => value !== undefined))
}
