// Files that are being fetched.

import type { BlobId, Hyperblobs } from '../hyperblobs/hyperblobs.js'
import type { Download as CoreDownload } from '../hypercore/download.js'
import { ReadyResource } from '../support/ready-resource.js'
import type { Hyperdrive } from './hyperdrive.js'
import type { DriveEntry, ListOptions } from './options.js'

/** What is fetched. */
export interface DownloadOptions extends ListOptions {
  /** What is being fetched already and belongs to it. */
  downloads?: CoreDownload[]
  /** @internal Content to fetch once it is known which blocks have it. */
  mapped?: BlobId[]
}

/** A folder, a file or ranges that are fetched. */
export class Download extends ReadyResource<{}> {
  /** Whose files are fetched. */
  readonly drive: Hyperdrive
  /** The folder or file; null for ranges. */
  readonly folder: string | null
  readonly options: DownloadOptions
  /** What it is made of. */
  readonly downloads: CoreDownload[]
  /** Whether it was given up; unset before. */
  destroyed: true | undefined
  readonly #cancelled: Promise<void>
  #cancel!: () => void
  /** What is fetched to know what to fetch. */
  readonly #maps: CoreDownload[] = []
  #list: { destroy (): unknown } | null = null

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
    this.#stop()
    this.ready().catch(() => {}).then(() => this.close()).catch(() => {})
  }

  protected override async _open (): Promise<void> {
    try {
      await this.#begin()
    } catch (error) {
      // It does not open, so it is never closed.
      this.#stop()
      if (!this.destroyed) throw error
    }
  }

  protected override async _close (): Promise<void> {
    this.#stop()
  }

  #stop (): void {
    this.#list?.destroy()
    stop(this.#maps)
    stop(this.downloads)
  }

  async #begin (): Promise<void> {
    const { drive, folder, options } = this
    const blobs = await this.#unlessCancelled(drive.getBlobs())
    if (!blobs) return
    if (folder === null) return await this.#fetch(blobs, options.mapped ?? [])
    const isFile = folder !== '' && !folder.endsWith('/')
    const entry = isFile ? await this.#unlessCancelled(drive.entry(folder, options)) : null
    if (this.destroyed) return
    const all = entry ? [entry] : await this.#entries(folder)
    await this.#fetch(blobs, all.flatMap(({ value }) => value.blob ?? []))
  }

  async #entries (folder: string): Promise<DriveEntry[]> {
    const entries: DriveEntry[] = []
    const list = this.#list = this.drive.list(folder, this.options)
    for await (const entry of list) entries.push(entry)
    return entries
  }

  // Maps first: they say which blocks there are to fetch.
  async #fetch (blobs: Hyperblobs, all: BlobId[]): Promise<void> {
    for (const blob of all) if (blob.blockMap && blob.blockLength > 0) this.#maps.push(blobs.core.download({ start: blob.blockOffset, length: blob.blockLength }))
    await this.#unlessCancelled(Promise.all(this.#maps.map((map) => map.done())))
    stop(this.#maps)
    for (const blob of all) {
      const download = this.destroyed ? null : await start(blobs, blob)
      if (!download) continue
      this.downloads.push(download)
      if (this.destroyed) download.destroy()
    }
  }

  async #unlessCancelled<T> (step: Promise<T>): Promise<T | void> {
    return await Promise.race([step, this.#cancelled])
  }
}

/** Gives downloads up. */
function stop (downloads: CoreDownload[]): void {
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
