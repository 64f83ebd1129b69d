// What the browser says about the room that an origin has.

export interface StorageStatus {
  /** Whether the browser keeps it also when room gets scarce; null where it does not say. */
  persisted: boolean | null
  /** Bytes in use, of everything that the origin stores; null where the browser does not say. */
  usage: number | null
  /** Bytes that there may be; null where the browser does not say. */
  quota: number | null
}

/** What the browser says about the room for stores. In Node it says nothing. */
export async function storageStatus (): Promise<StorageStatus> {
  const storage = globalThis.navigator?.storage as StorageManager | undefined
  const [persisted, estimate] = await Promise.all([storage?.persisted?.(), storage?.estimate?.()])
  return { persisted: persisted ?? null, usage: estimate?.usage ?? null, quota: estimate?.quota ?? null }
}

/** Asks the browser to keep what is stored also when room gets scarce, and resolves to whether it will. */
export async function persistStorage (): Promise<boolean> {
  const storage = globalThis.navigator?.storage as StorageManager | undefined
  return await storage?.persist?.() ?? false
}
