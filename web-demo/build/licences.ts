// Puts the licences of what others wrote beside the page: those of the packages that it bundles, which Vite finds, and those of `hypertab`.

import { copyFileSync, mkdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

import type { Plugin } from 'vite'

/** The folder of both, below that of the page. Nobody needs them offline. */
export const LICENCES = 'licences/'

/** Has the build write them. */
export function licences (): Plugin {
  return {
    name: 'licences',
    apply: 'build',
    config: () => ({ build: { license: { fileName: `${LICENCES}page.md` } } }),
    writeBundle ({ dir }) {
      const hypertab = dirname(fileURLToPath(import.meta.resolve('hypertab/package.json')))
      mkdirSync(join(dir!, LICENCES), { recursive: true })
      copyFileSync(join(hypertab, 'dist', 'THIRD-PARTY-NOTICES.txt'), join(dir!, LICENCES, 'hypertab.txt'))
    }
  }
}
