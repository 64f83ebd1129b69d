// How the blocks of a file, or of a whole drive, travel.

import type { Hypercore } from '../hypercore/hypercore.js'
import { count, emptyStats, type TransferStats } from '../hyperblobs/monitor.js'
import type { Hyperblobs } from '../hyperblobs/hyperblobs.js'
import { ReadyResource } from '../support/ready-resource.js'
import { speedometer, type Speedometer } from '../support/speedometer.js'
import type { Hyperdrive } from './hyperdrive.js'
import type { DriveEntry } from './options.js'

/** What is watched. */
export interface MonitorOptions {
  /** The file; the whole drive by default. */
  name?: string | null
  /** The file's entry, where it is known already. */
  entry?: DriveEntry | null
}

/** Tells how the blocks of a file, or of a whole drive, travel. */
export class Monitor extends ReadyResource<{ update: [] }> {
  readonly drive: Hyperdrive
  blobs: Hyperblobs | null = null
  readonly name: string | null
  entry: DriveEntry | null
  peers = 0
  readonly uploadStats = emptyStats()
  readonly downloadStats = emptyStats()
  uploadSpeedometer: Speedometer | null = null
  downloadSpeedometer: Speedometer | null = null

  constructor (drive: Hyperdrive, options: MonitorOptions = {}) {
    super()
    this.drive = drive
    this.name = options.name || null
    this.entry = options.entry || null
    this.ready().catch(() => {})
  }

  downloadSpeed (): number {
    return this.downloadSpeedometer ? this.downloadSpeedometer() : 0
  }

  uploadSpeed (): number {
    return this.uploadSpeedometer ? this.uploadSpeedometer() : 0
  }

  protected override async _open (): Promise<void> {
    await this.drive.ready()
    this.blobs = await this.drive.getBlobs()
    if (!this.entry && this.name) this.entry = await this.drive.entry(this.name)
    const blob = this.entry?.value.blob
    for (const stats of [this.uploadStats, this.downloadStats]) {
      stats.targetBytes = blob?.byteLength ?? 0
      stats.targetBlocks = blob?.blockLength ?? 0
    }
    this.uploadSpeedometer = speedometer()
    this.downloadSpeedometer = speedometer()
    this.#countPeers()
    for (const core of this.#cores()) {
      core.on('peer-add', this.#countPeers)
      core.on('peer-remove', this.#countPeers)
      core.on('upload', this.#onupload)
      core.on('download', this.#ondownload)
    }
  }

  protected override async _close (): Promise<void> {
    for (const core of this.blobs ? this.#cores() : []) {
      core.off('peer-add', this.#countPeers)
      core.off('peer-remove', this.#countPeers)
      core.off('upload', this.#onupload)
      core.off('download', this.#ondownload)
    }
    this.drive.monitors.delete(this)
  }

  #cores (): Hypercore[] {
    const { core } = this.blobs!
    return this.entry ? [core] : [core, this.drive.db.core]
  }

  readonly #countPeers = (): void => {
    this.uploadStats.peers = this.downloadStats.peers = this.peers = this.blobs!.core.peers.length
  }

  readonly #onupload = (index: number, bytes: number): void => { this.#update(this.uploadStats, this.uploadSpeedometer!, index, bytes) }

  readonly #ondownload = (index: number, bytes: number): void => { this.#update(this.downloadStats, this.downloadSpeedometer!, index, bytes) }

  #update (stats: TransferStats, speed: Speedometer, index: number, bytes: number): void {
    if (this.closing) return
    if (this.entry) {
      const { blob } = this.entry.value
      if (!blob || index < blob.blockOffset || index >= blob.blockOffset + blob.blockLength) return
    }
    count(stats, speed, bytes)
    this.emit('update')
  }
}
