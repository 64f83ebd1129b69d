// Files that are being fetched.

import type { BlobId, Hyperblobs } from '../hyperblobs/hyperblobs.js'
import type { Download as CoreDownload } from '../hypercore/download.js'
import type { ReadableOf } from '../support/readable.js'
import { ReadyResource } from '../support/ready-resource.js'
import type { Hyperdrive } from './hyperdrive.js'
import type { DriveDifference, DriveEntry, ListOptions } from './options.js'

/** What is fetched. */
export interface DownloadOptions extends ListOptions {
  /** What is being fetched already and belongs to it. */
  downloads?: CoreDownload[]
  /** Only what has come since this version. */
  diff?: number
}

/** A folder, a file or ranges that are fetched. */
export class Download extends ReadyResource<{}> {
  /** Whose files are fetched. */
  readonly drive: Hyperdrive
  /** The folder or file; null for ranges. */
  readonly folder: string | null
  readonly options: DownloadOptions
  /** The version since which files are fetched; null for all. */
  readonly diff: number | null
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
    this.diff = this.options.diff ?? null
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
      if (!this.#isGivenUp) throw error
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

  get #isGivenUp (): boolean { return !!this.destroyed || this.drive.closing !== null }

  async #begin (): Promise<void> {
    const blobs = await this.#unlessCancelled(this.drive.getBlobs())
    if (!blobs || this.#isGivenUp) return
    const all = await this.#entries()
    await this.#fetch(blobs, all.flatMap(({ value }) => value.blob?.blockLength ? value.blob : []))
  }

  async #entries (): Promise<DriveEntry[]> {
    const { drive, folder, options, diff } = this
    if (folder === null) return []
    const isFile = diff === null && folder !== '' && !folder.endsWith('/')
    const entry = isFile ? await this.#unlessCancelled(drive.entry(folder, options)) : null
    if (entry) return [entry]
    const entries: DriveEntry[] = []
    if (this.destroyed) return entries
    const stream: ReadableOf<DriveEntry & Partial<DriveDifference>> = diff === null ? drive.list(folder, options) : drive.diff(diff, folder, options) as any
    this.#list = stream
    for await (const found of stream) if (found.left !== null) entries.push(found.left ?? found)
    return entries
  }

  // Maps first: they say which blocks there are to fetch.
  async #fetch (blobs: Hyperblobs, all: BlobId[]): Promise<void> {
    for (const blob of all) if (blob.blockMap) this.#maps.push(blobs.core.download({ start: blob.blockOffset, length: blob.blockLength }))
    await this.#unlessCancelled(Promise.all(this.#maps.map((map) => map.done())))
    stop(this.#maps)
    for (const blob of all) {
      if (this.#isGivenUp) break
      const download = await start(blobs, blob)
      if (download) this.downloads.push(download)
    }
    if (this.#isGivenUp) this.#stop()
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
