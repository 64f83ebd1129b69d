// What Node, Bun and Deno give, in the place of platform.ts.

import { EventEmitter } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'

import { WebSocket as NodeWebSocket } from 'ws'

import { initSync } from './binding.js'

export const isNode = true

export const PlatformEmitter: unknown = EventEmitter

export function loadEngine (source?: unknown): Promise<void> | null {
  if (source instanceof Promise) return source.then((loaded) => { loadEngine(loaded) })
  if (source instanceof WebAssembly.Module || ArrayBuffer.isView(source) || source instanceof ArrayBuffer) {
    initSync({ module: source as BufferSource | WebAssembly.Module })
  } else {
    initSync({ module: readFileSync(source as string | URL ?? besideOrInstalled()) })
  }
  return null
}

// In one file with a program, which bundlers make, this is not beside the engine; then the package is where the program finds it.
function besideOrInstalled (): string | URL {
  const { url } = import.meta
  const beside = url ? new URL('../engine/hypertab_bg.wasm', url) : null
  if (beside !== null && existsSync(beside)) return beside
  for (const from of [process.argv[1], `${process.cwd()}/`]) {
    try {
      return createRequire(from!).resolve('hypertab/hypertab.wasm')
    } catch {}
  }
  return beside ?? 'hypertab_bg.wasm'
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

export function textOf (bytes: Uint8Array): string {
  return (Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)).toString()
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
  // `ws` throws what nobody listens for; the close event that follows says the same. The socket of Node 22 stays connecting, and fires none.
  socket.addEventListener('error', () => {
    if (socket.readyState === socket.CONNECTING) socket.dispatchEvent(Object.assign(new Event('close'), { code: 1006, reason: '' }))
  })
  return socket
}

export { folder as openPath, folder as openFolder } from './storage/folder.node.js'
