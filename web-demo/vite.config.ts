import { defineConfig } from 'vite'

import { licences } from './build/licences.ts'
import { offline } from './build/offline.ts'

export default defineConfig({
  // Relative addresses: the folder can be served from any path of any host.
  base: './',
  build: {
    target: 'es2022',
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false }
  },
  worker: { format: 'es' },
  // A package that finds its .wasm beside itself must not be moved by the dev server.
  optimizeDeps: { exclude: ['hypertab'] },
  server: { host: '127.0.0.1' },
  plugins: [licences(), offline()]
})
