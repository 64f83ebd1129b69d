// Everything, with the engine in a worker.

import { useWorker } from '../worker/page.js'

useWorker(new Worker(new URL('./worker-host.js', import.meta.url), { type: 'module', name: 'hypertab' }))

export * from '../index.js'
