// What the browser says about the room that an origin has, and about how long it keeps it.

/** What a browser says about the room that an origin has. */
export interface StorageStatus {
  /** Whether the browser keeps it also when room gets scarce; null where it does not say. */
  persisted: boolean | null
  /** Bytes in use, of everything that the origin stores; null where the browser does not say. */
  usage: number | null
  /** Bytes that there may be; null where the browser does not say. */
  quota: number | null
  /**
   * Days of the browser's use without a visit after which it deletes everything that the origin stores; null where there is
   * no such rule. Safari has one, of seven days, for pages that are not on the home screen or in the dock, whatever
   * `persisted` says. What is to outlive it needs another place: a mirror, see `BlindPeering.keep`.
   */
  deletedAfterDays: number | null
}

/** What the browser says about the room for stores. In Node it says nothing. */
export async function storageStatus (): Promise<StorageStatus> {
  const storage = globalThis.navigator?.storage as StorageManager | undefined
  const [persisted, estimate] = await Promise.all([storage?.persisted?.(), storage?.estimate?.()])
  return {
    persisted: persisted ?? null,
    usage: estimate?.usage ?? null,
    quota: estimate?.quota ?? null,
    deletedAfterDays: isWebKit() && !isInstalled() ? SEVEN_DAYS : null
  }
}

/** Asks the browser to keep what is stored also when room gets scarce, and resolves to whether it will. */
export async function persistStorage (): Promise<boolean> {
  const storage = globalThis.navigator?.storage as StorageManager | undefined
  return await storage?.persist?.() ?? false
}

/** WebKit's "7-day cap on all script-writable storage". */
const SEVEN_DAYS = 7

/** Safari, and every browser of an iPhone or iPad, which all have Safari's engine. */
function isWebKit (): boolean {
  const agent = globalThis.navigator?.userAgent ?? ''
  return /AppleWebKit\//.test(agent) && !/Chrom(e|ium)\/|Android|Node\.js|Deno|jsdom/.test(agent)
}

function isInstalled (): boolean {
  const { standalone } = globalThis.navigator as { standalone?: boolean }
  return standalone === true || (globalThis.matchMedia?.('(display-mode: standalone)').matches ?? false)
}
