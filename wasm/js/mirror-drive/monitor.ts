// How a mirror goes on.

import { EventEmitter } from '../support/emitter.js'
import type { MirrorDrive } from './mirror-drive.js'

/** How far a mirror is. */
export interface MirrorStats {
  /** Peers of the source. */
  peers: number
  /** Bytes and blocks so far, bytes a second, and how much of it is done, from 0 to 1. */
  download: { bytes: number, blocks: number, speed: number, progress: number }
  /** Bytes and blocks so far, and bytes a second. */
  upload: { bytes: number, blocks: number, speed: number }
}

type MonitorEvents = {
  /** How far it is. */
  update: [stats: MirrorStats]
  /** It is known how much there is to fetch. */
  preloaded: []
  /** It tells nothing more. */
  destroy: []
}

/** Tells how far a mirror is, four times a second unless `interval` says otherwise, in milliseconds. */
export class Monitor extends EventEmitter<MonitorEvents> {
  /** What is watched. */
  readonly mirror: MirrorDrive
  /** The timer. */
  readonly interval: ReturnType<typeof setInterval>
  /** What was told last; null before. */
  stats: MirrorStats | null = null
  #destroyed = false

  constructor (mirror: MirrorDrive, { interval = 250 }: { interval?: number } = {}) {
    super()
    this.mirror = mirror
    this.interval = setInterval(() => { this.update() }, interval)
    mirror.monitors.push(this)
    this.update()
  }

  /** Whether it is known how much there is to fetch. */
  get preloaded (): boolean { return this.mirror.preloaded }
  /** Whether it tells nothing more. */
  get destroyed (): boolean { return this.#destroyed }
  /** Its place among the monitors of the mirror. */
  get index (): number { return this.mirror.monitors.indexOf(this) }

  /** Tells at once. */
  update (): void {
    if (this.#destroyed) return
    const { mirror } = this
    this.stats = {
      peers: mirror.peers.length,
      download: {
        bytes: mirror.downloadedBytes,
        blocks: mirror.downloadedBlocks,
        speed: mirror.downloadSpeed!(),
        progress: mirror.downloadProgress
      },
      upload: { bytes: mirror.uploadedBytes, blocks: mirror.uploadedBlocks, speed: mirror.uploadSpeed!() }
    }
    this.emit('update', this.stats)
  }

  /** Tells nothing more. */
  destroy (): void {
    if (this.#destroyed) return
    this.#destroyed = true
    clearInterval(this.interval)
    this.mirror.monitors.splice(this.index, 1)
    this.emit('destroy')
  }
}
