// Makes plain JavaScript modules of wasm/js: once for browsers, once for Node and its like.

import { join } from 'node:path'

import { Failure, root } from './run.mjs'

const source = join(root, 'wasm', 'js')
const dist = join(root, 'wasm', 'dist')

const ENTRIES = {
  index: join(source, 'index.ts'),
  hypercore: join(source, 'entries', 'hypercore.ts'),
  hyperswarm: join(source, 'entries', 'hyperswarm.ts'),
  dht: join(source, 'entries', 'dht.ts'),
  storage: join(source, 'entries', 'storage.ts')
}

/** Writes wasm/dist/browser and wasm/dist/node. */
export async function bundleApi () {
  // Not at the top: the packages may be installed only after this file was loaded.
  const esbuild = await import('esbuild')
  const common = {
    entryPoints: ENTRIES,
    bundle: true,
    splitting: true,
    format: 'esm',
    target: 'es2022',
    chunkNames: 'chunk-[hash]',
    legalComments: 'inline',
    sourcemap: false,
    logLevel: 'error'
  }
  try {
    await Promise.all([
      esbuild.build({
        ...common,
        platform: 'browser',
        outdir: join(dist, 'browser'),
        alias: { 'events-universal': 'bare-events' },
        plugins: [engineBeside]
      }),
      esbuild.build({
        ...common,
        platform: 'node',
        outdir: join(dist, 'node'),
        external: ['ws'],
        plugins: [engineBeside, platformOfNode]
      })
    ])
  } catch (error) {
    throw new Failure(`the TypeScript API cannot be bundled: ${error.message}`)
  }
}

// The engine stays a file of its own, so that bundlers see where its wasm is.
const engineBeside = {
  name: 'engine-beside',
  setup (build) {
    build.onResolve({ filter: /\/engine\/hypertab\.js$/ }, () => ({ path: '../engine/hypertab.js', external: true }))
  }
}

const platformOfNode = {
  name: 'platform-of-node',
  setup (build) {
    build.onResolve({ filter: /\/platform\.js$/ }, () => ({ path: join(source, 'platform.node.ts') }))
    // streamx asks for its emitter with require, which a module does not have.
    build.onResolve({ filter: /^events-universal$/ }, () => ({ path: join(source, 'support', 'events.node.ts') }))
  }
}
