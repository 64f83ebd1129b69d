// How the blocks of a blob travel.

import type { Peer } from '../hypercore/peer.js'
import { EventEmitter } from '../support/emitter.js'
import { speedometer, type Speedometer } from '../support/speedometer.js'
import type { BlobId, Hyperblobs } from './hyperblobs.js'

/** What was sent or received. */
export interface TransferStats {
  /** When the first block came, in milliseconds since 1970; 0 before. */
  startTime: number
  /** How much of it is done, from 0 to 100. */
  percentage: number
  /** Peers of the core. */
  peers: number
  /** Bytes a second. */
  speed: number
  /** Blocks so far. */
  blocks: number
  /** Bytes so far. */
  totalBytes: number
  /** Bytes since it is watched. */
  monitoringBytes: number
  /** Bytes of all of it. */
  targetBytes: number
  /** Blocks of all of it. */
  targetBlocks: number
}

export function emptyStats (): TransferStats {
  return { startTime: 0, percentage: 0, peers: 0, speed: 0, blocks: 0, totalBytes: 0, monitoringBytes: 0, targetBytes: 0, targetBlocks: 0 }
}

/** Counts a block. */
export function count (stats: TransferStats, speed: Speedometer, bytes: number): void {
  stats.startTime ||= Date.now()
  stats.speed = speed(bytes)
  stats.blocks++
  stats.totalBytes += bytes
  stats.monitoringBytes += bytes
  stats.percentage = Math.round((stats.blocks / stats.targetBlocks) * 100 * 100) / 100
}

/** Tells how the blocks of a blob travel. */
export class Monitor extends EventEmitter<{ update: [] }> {
  readonly blobs: Hyperblobs
  readonly id: BlobId
  peers = 0
  readonly uploadStats = emptyStats()
  readonly downloadStats = emptyStats()
  readonly uploadSpeedometer: Speedometer = speedometer()
  readonly downloadSpeedometer: Speedometer = speedometer()

  constructor (blobs: Hyperblobs, id: BlobId) {
    super()
    if (!id) throw new Error('id is required')
    this.blobs = blobs
    this.id = id
    for (const stats of [this.uploadStats, this.downloadStats]) {
      stats.targetBytes = id.byteLength
      stats.targetBlocks = id.blockLength
    }
    this.#countPeers()
  }

  close (): void {
    this.blobs._removeMonitor(this)
  }

  destroy (): void {
    this.close()
  }

  downloadSpeed (): number {
    return this.downloadSpeedometer()
  }

  uploadSpeed (): number {
    return this.uploadSpeedometer()
  }

  /** @internal */
  _updatePeers (): void {
    this.#countPeers()
    this.emit('update')
  }

  /** @internal */
  _onUpload (index: number, bytes: number, _from: Peer | null): void {
    this.#update(this.uploadStats, this.uploadSpeedometer, index, bytes)
  }

  /** @internal */
  _onDownload (index: number, bytes: number, _from: Peer | null): void {
    this.#update(this.downloadStats, this.downloadSpeedometer, index, bytes)
  }

  #countPeers (): void {
    this.uploadStats.peers = this.downloadStats.peers = this.peers = this.blobs.core.peers.length
  }

  #update (stats: TransferStats, speed: Speedometer, index: number, bytes: number): void {
    const { blockOffset, blockLength } = this.id
    if (index < blockOffset || index >= blockOffset + blockLength) return
    count(stats, speed, bytes)
    this.emit('update')
  }
}
