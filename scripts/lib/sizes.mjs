// How much a page loads, by entry of the package, beside what it may.

import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { brotliCompressSync, constants, gzipSync } from 'node:zlib'

import { root } from './run.mjs'

/**
 * Most bytes that each part may have, compressed with brotli: `budget` is the aim, `ceiling` what a test holds it to. A change
 * that makes a part smaller lowers its ceiling; one that needs more says why where it raises it. A ceiling is a fifth of a kB above what
 * was measured: a word more in a message is no failure, a module more is.
 *
 * The text of keys is 0.9 kB of the service worker: behind an import it made bundlers put the engine into theirs. What bounds a hostile drive is 0.2 kB of it.
 * What suites of upstream reach through a core (its mutex, hooks, records and handshakes) is 1 kB of every part with cores.
 * A store that goes to and from a file is 2.7 kB of the index and of the worker's part, and 0.3 kB of every part with storage.
 * What has copies kept is 5.8 kB of the index and of the worker's part, which have everything; 0.8 of it for bases of Autobase.
 * The blocks and nodes of an append as runs are 4 kB of the engine, and took a third of what an append costs.
 * Queries and values of the DHT are 5 kB of the engine and 3 kB of every part with a DHT. The table that signatures are made with is 1 kB of the
 * engine; as a constant it would be 30.
 * Who may write to IndexedDB, told without a number for each write, is 1 kB of the engine, and takes a tenth to a sixth of an append.
 * Short keys beside each other, and what a map found last, are 1 kB of the engine, and take an eighth of what replicating small blocks costs.
 * What a log takes from a branch in an atom, and lists of what is in one, are 1 kB of the engine.
 * What tabs know of each other's blocks is 1 kB of every part with a store.
 * What programs look for on the mux of a stream, by the names that upstream has inside, is 0.4 kB of every part with cores or a mux.
 * Refusing what is no text, and reading text that is half of one, is 0.3 kB of every part.
 * What upstream says where the engine has words of its own is 0.1 kB of every part with cores.
 * Nodes of a bee's tree, for programs that walk it by hand, are 1.1 kB of every part with bees.
 * What a store answers once it is closed, who watches it, and whether a request ever began are 0.3 kB of every part with stores or cores.
 * Entries of a walk over a bee that come over the border together are 0.3 kB of the engine and of every part with bees, and half of what a walk takes.
 * What bounds what a bee's peer and a blob's author name is 0.2 kB of every part with bees.
 * Keys as z-base-32 are 0.6 kB of the inspector.
 * Heads of a log that programs grow, cut, prove and check on their own, as upstream's, are 2 kB of every part with cores.
 * Other histories that programs follow by themselves, and which blocks a closed core has, are 1 kB of every part with cores and 0.4 kB of the engine.
 * A key pair whose secret is kept somewhere else, and parts of the package that share what is inside of cores, are 0.5 kB of the engine and of every part with cores.
 * Coming back to a relay is 2 kB of the engine, and 0.6 kB of every part with a DHT.
 * Terms of announcements and what a peer says about itself are 0.7 kB of the engine; those and the members of upstream's node and servers are 1.1 kB of
 * every part with a DHT.
 * Where a relay is, where somebody is who asks to connect, and what an older relay does not know, are 0.6 kB of the engine; a relay at the end of a
 * stream, and what stands for a transport, are 0.5 kB of every part with a DHT.
 * Atoms that go on where their store moves to, and what came meanwhile, are 1.4 kB of every part with cores, and 0.7 of every other part with a store.
 * Bytes of other realms are 0.05 kB of every part with storage.
 * What upstream's Hypercore has since 11.39 (counts of blocks, recovering with an end, the last block with each longer log) is 0.3 kB of every part with cores.
 * What newcomers get wrong, and stores in memory that nobody holds, are 0.1 kB of the index each.
 * What a log still shares with what it was, when it was cut while its store moved, is 0.3 kB of every part with cores.
 * What a channel does before its stream is connected, keys of a handshake that was made elsewhere, and what of a stream are no messages, are 0.2 kB
 * of every part with cores or a mux; the keys are 0.6 kB of the engine.
 * What is announced with signatures of a program's own is 0.6 kB of the engine, and 0.3 kB of every part with a DHT.
 * What programs that watch a node and its streams count is 0.1 kB of every part with cores or a DHT.
 * A stream over a transport of the program is 0.4 kB of every part with cores or streams.
 * Storage of the program's own that closes with its store is 0.1 kB of every part with storage.
 * What a page may not do, and a storage of another copy of the package, said in words, are 0.2 kB of every part with storage.
 * That also owners of files record what they write is 0.1 kB of every part with storage.
 * Which blocks were here when the engine was asked last, and until when that is so, is 0.1 kB of every part with cores.
 * Microtasks by promises, and short text without an encoder, are 0.1 kB of every part, and a quarter of what a get takes in Chromium.
 * Branches that start over for all who have them open are 0.1 kB of every part with cores.
 * What whoever waits for one of several writes sees, and sessions of upstream's class over cores of ours, are 0.2 kB of every part with cores.
 * Lists of leaves that are read in pieces, and a first header that a crash cut short, are 2.2 kB of the engine: opening reads as much
 * of a log of 10 million blocks as of one of a million.
 * Each part has at least 0.1 kB of room, for what several changes come to together.
 * What a log came to with each of several changes at once is 1 kB of the engine, and 0.1 kB of every part with cores.
 * What reads the tries of old drives is 4 kB of the engine, 1.4 kB of the index and of the worker's part, and 0.1 kB of every part with cores.
 * Every part but the engine, `react` and `inspector` has the storage of a browser in it, with what lets tabs share a store: 7 kB,
 * 0.4 of it for who asks what when a store moves, and where links of its cores are made, and 0.2 for tabs of another version of the package. Of who may
 * be late with a write to a file it has 0.2, the engine 2.2: the header that a frozen owner may have written in part, written anew before
 * anything rests on it, is 0.4 of that.
 */
export const limits = {
  'engine (wasm)': { budget: 250_000, ceiling: 352_000 },
  index: { ceiling: 126_300 },
  hypercore: { ceiling: 72_200 },
  corestore: { ceiling: 75_800 },
  hyperbee: { ceiling: 45_900 },
  hyperblobs: { ceiling: 40_300 },
  hypertrie: { ceiling: 47_400 },
  hyperdrive: { ceiling: 95_300 },
  'mirror-drive': { ceiling: 39_800 },
  'blind-peering': { ceiling: 48_900 },
  hyperswarm: { ceiling: 59_900 },
  dht: { ceiling: 55_200 },
  protomux: { ceiling: 43_900 },
  'secret-stream': { ceiling: 43_900 },
  storage: { ceiling: 36_800 },
  level: { ceiling: 55_100 },
  react: { ceiling: 2_100 },
  inspector: { ceiling: 4_800 },
  worker: { ceiling: 126_600 },
  'worker-host': { ceiling: 37_000 },
  'service-worker': { ceiling: 7_600 }
}

/**
 * Measures the engine, and each entry for browsers with the modules it imports.
 *
 * @returns {{ name: string, raw: number, gzip: number, brotli: number, budget?: number, ceiling?: number }[]} sizes in bytes
 */
export function packageSizes (dist = join(root, 'wasm', 'dist')) {
  const { exports } = JSON.parse(readFileSync(join(root, 'wasm', 'package.json'), 'utf8'))
  // Paths below an entry, as hypercore/errors, are parts of it.
  const entries = Object.values(exports).flatMap((paths) => /\/browser\/([\w-]+)\.js$/.exec(paths.default ?? '')?.[1] ?? [])
  /** @type {[string, string[]][]} */
  const parts = [['engine (wasm)', [join(dist, 'engine', 'hypertab_bg.wasm')]]]
  for (const name of entries) parts.push([name, importsOf(join(dist, 'browser', `${name}.js`))])
  const compressed = new Map()
  return parts.map(([name, files]) => {
    const sum = { name, raw: 0, gzip: 0, brotli: 0, ...limits[name] }
    for (const file of files) {
      // Most modules are parts of most entries.
      if (!compressed.has(file)) compressed.set(file, sizesOf(file))
      for (const [measure, length] of Object.entries(compressed.get(file))) sum[measure] += length
    }
    return sum
  })
}

/** A file's sizes in bytes: each file travels, and is compressed, on its own. */
function sizesOf (file) {
  const bytes = readFileSync(file)
  return {
    raw: bytes.length,
    gzip: gzipSync(bytes, { level: 9 }).length,
    brotli: brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } }).length
  }
}

/** Writes sizes as lines of text. */
export function sizeTable (sizes) {
  const kilo = (length) => length === undefined ? '' : (length / 1000).toFixed(1)
  const rows = [['kB', 'raw', 'gzip', 'brotli', 'ceiling', 'budget']]
  for (const { name, raw, gzip, brotli, ceiling, budget } of sizes) {
    rows.push([name, ...[raw, gzip, brotli, ceiling, budget].map(kilo)])
  }
  return rows.map(([name, ...cells]) => `  ${name.padEnd(14)}${cells.map((cell) => cell.padStart(9)).join('')}`).join('\n')
}

/** The module and everything it imports statically, each once. */
function importsOf (entry, seen = new Set()) {
  if (seen.has(entry)) return [...seen]
  seen.add(entry)
  const source = readFileSync(entry, 'utf8')
  for (const [, from] of source.matchAll(/(?:^|[;}])(?:import|export)(?:[^;"'`()]*\bfrom)?\s*["']([^"'\n]+)["']/gm)) {
    if (from.startsWith('.')) importsOf(join(dirname(entry), from), seen)
  }
  return [...seen]
}
