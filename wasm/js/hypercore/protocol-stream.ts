// Streams that cores replicate on.

import type { Duplex } from 'streamx'

import { HypercoreError } from '../errors.js'
import { Connection } from '../links/connection.js'
import { Mux } from '../links/mux.js'
import type { ReplicateOptions } from './options.js'

/** What replicates on a stream. */
export function getProtocolMuxer (stream: unknown): unknown {
  return (stream as { noiseStream: { userData: unknown } }).noiseStream.userData
}

/** An encrypted stream that cores can replicate on, and the outer side of it for the transport. */
export function createProtocolStream (isInitiator: boolean | object, options: ReplicateOptions = {}): Duplex {
  const given = isMux(isInitiator) ? isInitiator.stream : isStream(isInitiator) ? isInitiator : options.stream
  const outer = given ?? new Connection(isInitiator as boolean, null, {
    keepAlive: keepAliveOf(options.keepAlive),
    keyPair: options.keyPair ?? null
  }).rawStream
  const noise = (outer as { noiseStream?: { userData?: unknown, keepAlive?: number, setKeepAlive?: (milliseconds: number) => void } }).noiseStream
  const isFresh = !noise?.userData
  if (!noise) throw HypercoreError.BAD_ARGUMENT('Invalid stream')
  const mux = Mux.from(outer)
  if (isFresh && options.keepAlive !== false && noise?.keepAlive === 0) noise.setKeepAlive?.(keepAliveOf(options.keepAlive))
  if (options.ondiscoverykey) mux.pair({ protocol: 'hypercore/alpha' }, options.ondiscoverykey)
  return outer as Duplex
}

/** Whether programs may attach to it. */
export function isMux (value: unknown): value is { stream: unknown } {
  return typeof value === 'object' && value !== null && (value as { isProtomux?: unknown }).isProtomux === true
}

function isStream (value: unknown): boolean {
  return typeof value === 'object' && value !== null && typeof (value as { pipe?: unknown }).pipe === 'function'
}

function keepAliveOf (keepAlive: boolean | number | undefined): number {
  return keepAlive === false ? 0 : typeof keepAlive === 'number' && keepAlive !== 0 ? keepAlive : 5000
}
