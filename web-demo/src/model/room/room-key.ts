// What makes a room: 32 secret bytes, random and handed on in a link, or made of a name that everybody may say.

import { hash, ready } from 'hypertab'

import { formatKey, parseKey } from '../key.ts'

const utf8 = new TextEncoder()

/** What is derived of a room's secret. None of it tells the secret. */
export interface RoomKeys {
  /** The secret as 52 characters: what links carry. */
  readonly id: string
  /** Under which members find each other. Nodes of the DHT see it. */
  readonly topic: Uint8Array
  /** Names the channel on a connection; only members know it. */
  readonly channel: Uint8Array
  /** Encrypts what members write. */
  readonly encryption: Uint8Array
}

/** Where a pasted text leads. */
export interface RoomPlace {
  readonly id: string
  readonly name: string
}

/** Derives what a room needs. */
export async function roomKeys (id: string): Promise<RoomKeys> {
  await ready()
  const secret = parseKey(id)
  const derived = (use: string) => hash([utf8.encode(`hypertab room: ${use}`), secret])
  return { id, topic: derived('topic'), channel: derived('channel'), encryption: derived('encryption') }
}

/** Makes the secret of a room that nobody else knows. */
export function randomRoom (): string {
  return formatKey(crypto.getRandomValues(new Uint8Array(32)))
}

/** Returns the proof that one end of a connection knows the secret; it is worth nothing on another connection. */
export function proofOf (id: string, handshakeHash: Uint8Array, isInitiator: boolean): Uint8Array {
  return hash([utf8.encode('hypertab room: member'), parseKey(id), handshakeHash, Uint8Array.of(isInitiator ? 1 : 0)])
}

/** Reads what was pasted or typed: a link, a key, or the name of an open room. */
export async function parseRoom (text: string): Promise<RoomPlace> {
  const trimmed = text.trim()
  const link = /#\/room\/([^/?\s]+)(?:\/([^?\s]*))?/.exec(trimmed)
  if (link) return { id: formatKey(parseKey(link[1]!)), name: decoded(link[2] ?? '') }
  if (/^[a-z0-9]{52}$|^[0-9a-f]{64}$/i.test(trimmed)) return { id: formatKey(parseKey(trimmed)), name: '' }
  // Says what is missing.
  if (trimmed === '' || trimmed.includes('://')) return { id: formatKey(parseKey(trimmed)), name: '' }
  const name = trimmed.replace(/\s+/g, ' ')
  await ready()
  return { id: formatKey(hash([utf8.encode('hypertab room: name'), utf8.encode(name.toLowerCase())])), name }
}

/** Writes the address of a room within the page. */
export function roomAddress ({ id, name }: RoomPlace): string {
  return `#/room/${id}${name === '' ? '' : `/${encodeURIComponent(name)}`}`
}

function decoded (text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return ''
  }
}
