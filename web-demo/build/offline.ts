// Adds the service worker to the build, with the list of the files that it keeps.

import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

import type { Plugin } from 'vite'

const sources = ['hyper-worker.js', 'service-worker.js'].map((name) => join(import.meta.dirname, name))

/** Emits `service-worker.js`, which serves the built page when the network is cut, and files of drives. */
export function offline (): Plugin {
  let publicFolder = ''
  return {
    name: 'offline',
    apply: 'build',
    configResolved (config) { publicFolder = config.publicDir },
    generateBundle: {
      order: 'post',
      handler (_, bundle) {
        const built = Object.values(bundle)
        const hash = createHash('sha256')
        for (const file of built) hash.update(file.fileName).update(file.type === 'chunk' ? file.code : file.source)
        const extra = readdirSync(publicFolder)
        for (const file of extra) hash.update(file).update(readFileSync(join(publicFolder, file)))
        const files = ['./', ...built.map((file) => file.fileName).filter((name) => name !== 'index.html'), ...extra]
        const head = `const VERSION = ${JSON.stringify(hash.digest('hex').slice(0, 16))}\nconst FILES = ${JSON.stringify(files)}\n`
        this.emitFile({ type: 'asset', fileName: 'service-worker.js', source: head + sources.map((source) => readFileSync(source, 'utf8')).join('') })
      }
    }
  }
}
