// Replication on an encrypted stream of upstream's: its messages go to the engine, and the engine's to it.

import type { CoreHandle, Failure, LinkHandle } from '../binding.js'
import { HypertabError } from '../errors.js'
import { userBytes } from '../platform.js'
import { call, listen, ready, unlisten } from '../runtime.js'
import type { Mux } from './mux.js'

/** What upstream's NoiseSecretStream has that is used here. */
export interface SecretStreamLike {
  isInitiator: boolean
  publicKey: Uint8Array
  remotePublicKey: Uint8Array
  handshakeHash: Uint8Array | null
  opened: Promise<boolean>
  userData: unknown
  destroying?: boolean
  write (message: Uint8Array): boolean
  end (): unknown
  destroy (error?: Error | null): unknown
  on (name: string, listener: (...args: any[]) => void): unknown
  emit (name: string, ...args: unknown[]): unknown
  keepAlive?: number
  setKeepAlive? (milliseconds: number): void
}

/** Bytes that upstream's stream may have queued for its transport. */
const CREDIT = 1 << 18

/** Whether something behaves as upstream's encrypted stream. */
export function isSecretStream (stream: unknown): stream is SecretStreamLike {
  const candidate = stream as Partial<SecretStreamLike> | null
  return typeof candidate === 'object' && candidate !== null && 'handshakeHash' in candidate &&
    typeof candidate.isInitiator === 'boolean' && typeof candidate.opened?.then === 'function' && typeof candidate.write === 'function'
}

/** Connects the stream with the engine, once its handshake is done. */
export function carry (stream: SecretStreamLike, mux: Mux): void {
  void linkOver(stream, mux, (link) => { join(stream, link, mux) })
}

/** Gives the engine a link over a stream that encrypts by itself, once its handshake is done. */
export async function linkOver (stream: SecretStreamLike, mux: Mux, join: (link: LinkHandle) => void, near?: CoreHandle): Promise<void> {
  stream.on('error', () => {})
  stream.on('close', () => { mux.unlinked() })
  try {
    await ready()
    if (!(await stream.opened) || stream.destroying) return
    const link = call((engine) => engine.openLink({
      isInitiator: stream.isInitiator,
      transport: 'framed',
      security: 'external',
      handshakeHash: stream.handshakeHash!,
      publicKey: stream.publicKey,
      remotePublicKey: stream.remotePublicKey,
      ...(near === undefined ? {} : { near })
    }))
    join(link)
    call((engine) => { engine.linkCredit(link, CREDIT) })
    mux.linked(link)
  } catch (error) {
    stream.destroy(error as Error)
  }
}

function join (stream: SecretStreamLike, link: LinkHandle, mux: Mux): void {
  let unsent = 0
  let over = false
  const finish = () => {
    if (over) return
    over = true
    unlisten('link', link)
    mux.unlinked()
  }
  const grant = () => {
    if (over || unsent === 0) return
    const bytes = unsent
    unsent = 0
    call((engine) => { engine.linkCredit(link, bytes) })
  }
  const ended = (reason?: string) => {
    if (over) return
    call((engine) => { engine.linkEnded(link, reason) })
    finish()
  }

  listen('link', link, (kind, rest) => {
    const [first] = rest
    if (kind === 'transmit') {
      const bytes = first as Uint8Array
      unsent += bytes.byteLength
      if (stream.write(userBytes(bytes))) grant()
    } else if (kind === 'link-close' || kind === 'link-closed') {
      finish()
      const failure = first as Failure | null
      if (failure) stream.destroy(new HypertabError(failure.code, failure.message))
      else stream.end()
    } else if (kind === 'link-opened') {
      mux.ready()
    } else {
      mux.handle(kind, rest)
    }
  })
  stream.on('drain', grant)
  stream.on('data', (message: Uint8Array) => {
    if (!over && message.byteLength > 0) call((engine) => { engine.linkBytes(link, message) })
  })
  stream.on('end', () => {
    ended()
    stream.end()
  })
  stream.on('close', () => { ended() })
}
