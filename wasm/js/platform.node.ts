// What Node, Bun and Deno give, in the place of platform.ts.

import { EventEmitter } from 'node:events'
import { readFileSync } from 'node:fs'

import { WebSocket as NodeWebSocket } from 'ws'

import { initSync } from './binding.js'

export const isNode = true

export const PlatformEmitter: unknown = EventEmitter

export function loadEngine (source?: unknown): Promise<void> | null {
  if (source instanceof Promise) return source.then((loaded) => { loadEngine(loaded) })
  if (source instanceof WebAssembly.Module || ArrayBuffer.isView(source) || source instanceof ArrayBuffer) {
    initSync({ module: source as BufferSource | WebAssembly.Module })
  } else {
    initSync({ module: readFileSync(source as string | URL ?? new URL('../engine/hypertab_bg.wasm', import.meta.url)) })
  }
  return null
}

/**
 * Arrays up to this length have no memory of their own until somebody asks for it, as sharing it does. V8 tracks each
 * such memory, and with the keys of thousands of cores does little else.
 */
const IN_HEAP = 64

export function userBytes (bytes: Uint8Array): Uint8Array {
  if (Buffer.isBuffer(bytes)) return bytes
  if (bytes.byteLength > IN_HEAP) return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const copy = Buffer.alloc(bytes.byteLength)
  copy.set(bytes)
  return copy
}

export function bytesFrom (value: unknown): Uint8Array {
  return Buffer.from(value as string)
}

export function unrefTimer (timer: unknown): void {
  (timer as { unref?: () => void } | null)?.unref?.()
}

export function nextTurn (step: () => void): void {
  setImmediate(step)
}

export function openSocket (url: string, protocols?: string[]): unknown {
  const Socket = globalThis.WebSocket ?? NodeWebSocket
  const socket = protocols === undefined ? new Socket(url) : new Socket(url, protocols)
  socket.binaryType = 'arraybuffer'
  // `ws` throws what nobody listens for; the close event that follows says the same.
  socket.addEventListener('error', () => {})
  return socket
}

export { folder as openPath, folder as openFolder } from './storage/folder.node.js'
