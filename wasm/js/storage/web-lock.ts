// One writer a store, among the tabs and workers of an origin and within one of them.

import { HypertabError } from '../errors.js'

/** How long an opening waits for another tab to let go, in milliseconds: enough for a reload. */
const PATIENCE = 1500

const held = new Set<string>()

/**
 * Takes the lock of that name, and returns how to give it back.
 *
 * @throws with the code `STORAGE_LOCKED` when somebody else has it and keeps it
 */
export async function lock (name: string): Promise<() => void> {
  if (held.has(name)) throw locked(name, 'this page')
  held.add(name)
  try {
    const unlock = await webLock(name)
    return () => {
      held.delete(name)
      unlock()
    }
  } catch (error) {
    held.delete(name)
    if ((error as Error).name === 'AbortError') throw locked(name, 'another tab or worker')
    throw error
  }
}

async function webLock (name: string): Promise<() => void> {
  // Absent where the page is not served securely: the lease record in the store still refuses a second writer.
  const locks = globalThis.navigator?.locks
  if (!locks) return () => {}
  return await new Promise((resolve, reject) => {
    const signal = AbortSignal.timeout(PATIENCE)
    const kept = locks.request(name, { signal }, () => new Promise<void>((release) => { resolve(release) }))
    kept.catch((error: Error) => {
      reject(error.name === 'TimeoutError' ? Object.assign(new Error(error.message), { name: 'AbortError' }) : error)
    })
  })
}

function locked (name: string, by: string): HypertabError {
  return new HypertabError('STORAGE_LOCKED', `${name} is open in ${by}; close it there first`)
}
