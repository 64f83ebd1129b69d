// How a mirror goes on.

import { EventEmitter } from '../support/emitter.js'
import type { MirrorDrive } from './mirror-drive.js'

export interface MirrorStats {
  peers: number
  /** Bytes and blocks so far, bytes a second, and how much of it is done, from 0 to 1. */
  download: { bytes: number, blocks: number, speed: number, progress: number }
  upload: { bytes: number, blocks: number, speed: number }
}

type MonitorEvents = {
  update: [stats: MirrorStats]
  /** It is known how much there is to fetch. */
  preloaded: []
  destroy: []
}

export class Monitor extends EventEmitter<MonitorEvents> {
  readonly mirror: MirrorDrive
  readonly interval: ReturnType<typeof setInterval>
  stats: MirrorStats | null = null
  #destroyed = false

  constructor (mirror: MirrorDrive, { interval = 250 }: { interval?: number } = {}) {
    super()
    this.mirror = mirror
    this.interval = setInterval(() => { this.update() }, interval)
    mirror.monitors.push(this)
    this.update()
  }

  get preloaded (): boolean { return this.mirror.preloaded }
  get destroyed (): boolean { return this.#destroyed }
  get index (): number { return this.mirror.monitors.indexOf(this) }

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

  destroy (): void {
    if (this.#destroyed) return
    this.#destroyed = true
    clearInterval(this.interval)
    this.mirror.monitors.splice(this.index, 1)
    this.emit('destroy')
  }
}
