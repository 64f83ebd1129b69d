// A transport of the program's beneath an encrypted stream, in place of a side that is piped somewhere.

import { getStreamError } from 'streamx'

import type { Bridge } from './bridge.js'

/** A duplex of bytes: a socket, a pipe, or one side of another stream. */
export interface Transport {
  /** Bytes of either way, where it counts them. */
  readonly bytesReceived?: number
  readonly bytesTransmitted?: number
  write (data: Uint8Array): boolean
  end (): unknown
  destroy (error?: Error | null): unknown
  pause? (): unknown
  resume? (): unknown
  /** Resolves once everything written has left. */
  flush? (): Promise<boolean>
  on (name: string, listener: (...args: any[]) => void): unknown
}

/** Carries the bytes of a stream over its transport. Whichever of them breaks takes the other one with it. */
export function joinTransport (transport: Transport, bridge: Bridge): void {
  let ended = false
  let finished = false
  transport.on('data', (data: Uint8Array) => { if (!bridge.write(data)) transport.pause?.() })
  bridge.on('drain', () => { transport.resume?.() })
  transport.on('end', () => {
    ended = true
    bridge.end(null)
  })
  transport.on('error', (error: Error) => { bridge.destroy(error) })
  transport.on('close', () => { if (!ended || !finished) bridge.destroy() })
  bridge.on('data', (data) => { if (!transport.write(data as Uint8Array)) bridge.pause() })
  transport.on('drain', () => { bridge.resume() })
  bridge.on('end', () => {
    finished = true
    transport.end()
  })
  // What was ended both ways is still on its way out.
  bridge.on('close', () => { if (!ended || !finished) transport.destroy(getStreamError(bridge as never) ?? null) })
}
