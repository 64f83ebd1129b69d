// Who this tab is to its peers, also once it is loaded again. One that came back under another key would stay announced under the one before,
// for as long as the DHT remembers, and whoever looks for peers would wait for it in vain.

import { DHT, ready } from 'hypertab'

import { toHex } from './key.ts'

const SEED = 'hypertab-demo:seed'

/** How long a page that is being left may keep its key, in milliseconds. */
const PATIENCE = 1000

type KeyPair = ReturnType<typeof DHT.keyPair>

/** The key pair of this tab, for as long as it is open; undefined where a page cannot keep it. */
export async function tabKeyPair (): Promise<KeyPair | undefined> {
  if (!('locks' in navigator)) return undefined
  await ready()
  // A tab that was duplicated has the seed of the other one, too, and finds its lock taken.
  for (const seed of [storedSeed(), crypto.getRandomValues(new Uint8Array(32))]) {
    const keyPair = seed && DHT.keyPair(seed)
    if (!keyPair || !await hold(`hypertab-demo:tab:${toHex(keyPair.publicKey)}`)) continue
    try {
      sessionStorage.setItem(SEED, toHex(seed))
    } catch {
      // Without storage it is another one next time.
    }
    return keyPair
  }
}

function storedSeed (): Uint8Array | null {
  try {
    const pairs = sessionStorage.getItem(SEED)?.match(/^[0-9a-f]{64}$/)?.[0].match(/../g)
    return pairs ? Uint8Array.from(pairs, (pair) => parseInt(pair, 16)) : null
  } catch {
    return null
  }
}

async function hold (name: string): Promise<boolean> {
  return await new Promise((resolve) => {
    navigator.locks.request(name, { signal: AbortSignal.timeout(PATIENCE) }, () => {
      resolve(true)
      return new Promise(() => {})
    }).catch(() => { resolve(false) })
  })
}
