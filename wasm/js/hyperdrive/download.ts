// Files that are being fetched.

import type { BlobId, Hyperblobs } from '../hyperblobs/hyperblobs.js'
import type { Download as CoreDownload } from '../hypercore/download.js'
import { ReadyResource } from '../support/ready-resource.js'
import type { Hyperdrive } from './hyperdrive.js'
import type { DriveEntry, ListOptions } from './options.js'

export interface DownloadOptions extends ListOptions {
  downloads?: CoreDownload[]
}

/** A folder, a file or ranges that are fetched. */
export class Download extends ReadyResource<{}> {
  readonly drive: Hyperdrive
  readonly folder: string | null
  readonly options: DownloadOptions
  readonly downloads: CoreDownload[]
  /** Whether it was given up; unset before. */
  destroyed: true | undefined
  readonly #cancelled: Promise<void>
  #cancel!: () => void

  constructor (drive: Hyperdrive, folder: string | null, options?: DownloadOptions) {
    super()
    this.drive = drive
    this.folder = folder
    this.options = options ?? {}
    this.downloads = this.options.downloads ?? []
    this.#cancelled = new Promise((resolve) => { this.#cancel = resolve })
    this.ready().catch(() => {})
  }

  /** Resolves when all of it is here, or was given up. */
  async done (): Promise<void> {
    await this.ready()
    await Promise.allSettled(this.downloads.map((download) => download.done()))
  }

  /** Gives it up. */
  destroy (): void {
    this.destroyed = true
    this.#cancel()
    this.ready().catch(() => {}).then(() => this.close()).catch(() => {})
  }

  protected override async _open (): Promise<void> {
    const { drive, folder } = this
    try {
      const blobs = await drive.getBlobs()
      if (folder === null) return
      const isFile = folder !== '' && !folder.endsWith('/')
      const entry = isFile ? await drive.entry(folder, this.options) : null
      await this.#fetch(blobs, entry ? [entry] : await this.#list(folder))
    } catch (error) {
      // It does not open, so it is never closed.
      stop(this.downloads)
      throw error
    }
  }

  protected override async _close (): Promise<void> {
    stop(this.downloads)
  }

  async #list (folder: string): Promise<DriveEntry[]> {
    const entries: DriveEntry[] = []
    for await (const entry of this.drive.list(folder, this.options)) entries.push(entry as DriveEntry)
    return entries
  }

  // Maps first: they say which blocks there are to fetch.
  async #fetch (blobs: Hyperblobs, entries: DriveEntry[]): Promise<void> {
    const all = entries.flatMap((entry) => entry.value.blob ?? [])
    const maps = all.filter((blob) => blob.blockMap && blob.blockLength > 0)
    const downloads = maps.map((blob) => blobs.core.download({ start: blob.blockOffset, length: blob.blockLength }))
    const whole = Promise.all(downloads.map((download) => download.done()))
    try {
      if (!(await Promise.race([whole.then(() => true), this.#cancelled.then(() => false)]))) return
    } finally {
      stop(downloads)
    }
    for (const blob of all) {
      const download = await start(blobs, blob)
      if (download) this.downloads.push(download)
    }
  }

}

/** Gives downloads up. */
export function stop (downloads: CoreDownload[]): void {
  for (const download of downloads) download.destroy()
}

async function start (blobs: Hyperblobs, blob: BlobId): Promise<CoreDownload | null> {
  const map = await blobs.getBlockMap(blob)
  if (blob.blockMap && !map) return null
  const download = blobs.core.download(map
    ? { blocks: map.blocks.map((block) => block.index) }
    : { start: blob.blockOffset, length: blob.blockLength })
  await download.ready()
  return download
}
