// Adds the service worker to the build, with the list of the files that it keeps.

import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

import { build } from 'esbuild'
import type { Plugin } from 'vite'

import { LICENCES } from './licences.ts'

const source = join(import.meta.dirname, 'service-worker.js')

/** Emits `service-worker.js`, which serves the built page when the network is cut, and files of drives. */
export function offline (): Plugin {
  let publicFolder = ''
  return {
    name: 'offline',
    apply: 'build',
    configResolved (config) { publicFolder = config.publicDir },
    generateBundle: {
      order: 'post',
      async handler (_, bundle) {
        const built = Object.values(bundle)
        // One file, in the form that every browser takes for a service worker.
        const { outputFiles } = await build({ entryPoints: [source], bundle: true, write: false, format: 'iife', target: 'es2022', minify: true, logLevel: 'error' })
        const worker = outputFiles[0]!.text
        const hash = createHash('sha256').update(worker)
        for (const file of built) hash.update(file.fileName).update(file.type === 'chunk' ? file.code : file.source)
        const extra = readdirSync(publicFolder)
        for (const file of extra) hash.update(file).update(readFileSync(join(publicFolder, file)))
        const files = ['./', ...built.map((file) => file.fileName).filter((name) => name !== 'index.html' && !name.startsWith(LICENCES)), ...extra]
        const head = `const VERSION = ${JSON.stringify(hash.digest('hex').slice(0, 16))}\nconst FILES = ${JSON.stringify(files)}\n`
        this.emitFile({ type: 'asset', fileName: 'service-worker.js', source: head + worker })
      }
    }
  }
}
