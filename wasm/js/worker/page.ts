// The engine in a worker: storage, cryptography and sockets are there, and the page stays smooth.

import { HypertabError } from '../errors.js'
import { Home } from '../remote/home.js'
import { workerPort } from '../remote/port.js'
import { homeOfEverything, moveEverything } from '../remote/router.js'

/** Why the worker is of no use, once that is known. */
export type WorkerFailed = (error: Error) => void

/** Has everything done in a worker that runs `hypertab/worker-host`. The first one stays. */
export function useWorker (worker: Worker, failed: WorkerFailed = report): void {
  if (homeOfEverything()) throw new HypertabError('ENGINE_STARTED', 'there is a worker for the engine already')
  const home = new Home(workerPort(worker, () => { worker.terminate() }))
  worker.addEventListener('error', (event) => {
    // It has no message where the script is missing or forbidden.
    failed(new HypertabError('ENGINE_FAILED', `the worker of the engine failed: ${event.message || 'its script, hypertab/worker-host, could not be loaded'}`))
    home.die()
  })
  moveEverything(home)
}

function report (error: Error): void {
  console.error(error)
}
