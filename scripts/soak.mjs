// The long runs of what `npm test` runs for seconds.
//
//   npm run soak                       100,000 operations of a log against a model, on each disk
//   npm run soak -- redb 1000000 7     one disk, the operations, the seed
//   npm run fuzz                       a million inputs for each decoder and machine
//   npm run fuzz -- engine 100000 7    one target, the inputs, the seed
//
// A failure prints how to see it again.

import { main, run } from './lib/run.mjs'

await main(async () => {
  const [kind, ...rest] = process.argv.slice(2)
  const isNumber = (text) => /^[0-9_]+$/.test(text)
  const name = rest.find((text) => !isNumber(text))
  const [count, seed] = rest.filter(isNumber)
  const [test, variables] = kind === 'fuzz'
    ? ['fuzz_replay', { HYPERTAB_TARGET: name, HYPERTAB_FUZZ: count ?? '1000000', HYPERTAB_SEED: seed }]
    : ['log_model', { HYPERTAB_DISK: name, HYPERTAB_SOAK: count ?? '100000', HYPERTAB_SEED: seed }]
  for (const [variable, value] of Object.entries(variables)) if (value !== undefined) process.env[variable] = value
  await run('cargo', ['test', '--package', 'hypertab-tests', '--locked', '--test', test, '--', '--nocapture'])
})
