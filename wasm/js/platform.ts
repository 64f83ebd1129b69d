// What a browser gives. The build puts platform.node.ts in this file's place for Node, Bun and Deno.

import { EventEmitter as BareEvents } from 'bare-events'

import { init } from './binding.js'
import { HypertabError } from './errors.js'
import { fromUtf8 } from './support/bytes.js'

export const isNode = false

/** The emitter that classes extend. */
export const PlatformEmitter: unknown = BareEvents

/** Where the engine is, beside this file; null in a script that does not know where it is. Bundlers that know assets rewrite it. */
function engineUrl (): URL | null {
  try {
    return new URL('../engine/hypertab_bg.wasm', import.meta.url)
  } catch {
    return null
  }
}

/** Loads the engine. Here it takes a request; in Node it is done before this returns. */
export function loadEngine (source?: unknown): Promise<void> | null {
  return source === undefined || source === null ? loadBeside() : load(source)
}

// A bundler that does not know assets, as esbuild, leaves the file behind; a module that holds it comes along.
async function loadBeside (): Promise<void> {
  const url = engineUrl()
  let found
  try {
    found = url === null ? await engineInModule() : await fetchEngine(url)
  } catch (error) {
    if (url === null) throw error
    found = await engineInModule().catch(() => { throw error })
  }
  await compile(found)
}

// What browsers say where a policy forbids it differs, and names no way out.
async function compile (found: unknown): Promise<void> {
  try {
    await init({ module_or_path: found })
  } catch (cause) {
    throw new HypertabError('ENGINE_NOT_LOADED', "the engine could not be compiled, as where a content security policy lacks script-src 'wasm-unsafe-eval'", { cause })
  }
}

async function engineInModule (): Promise<ArrayBuffer> {
  const { default: packed } = await import('./engine/inline.js')
  const bytes = Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0))
  return await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'))).arrayBuffer()
}

async function load (source: unknown): Promise<void> {
  await compile(await (typeof source === 'string' || source instanceof URL ? fetchEngine(source) : source))
}

async function fetchEngine (url: string | URL): Promise<Response | ArrayBuffer> {
  let response
  try {
    response = await fetch(url)
  } catch (cause) {
    throw new HypertabError('ENGINE_NOT_LOADED', `the engine could not be fetched from ${url}`, { cause })
  }
  if (!response.ok) {
    throw new HypertabError('ENGINE_NOT_LOADED', `the engine could not be fetched from ${url}: HTTP ${response.status}`)
  }
  if (response.headers.get('content-type')?.startsWith('application/wasm')) return response
  const bytes = await response.arrayBuffer()
  const [a, b, c, d] = new Uint8Array(bytes)
  if (a === 0 && b === 0x61 && c === 0x73 && d === 0x6d) return bytes
  const hint = a === 0x3c ? 'a page came instead of it' : 'something else came instead of it'
  throw new HypertabError('ENGINE_NOT_LOADED', `the engine was looked for at ${url}, and ${hint}; or call ready() with where it is`)
}

/** Bytes as the users of this platform expect them. */
export function userBytes (bytes: Uint8Array): Uint8Array {
  return bytes
}

/** Text of what users get. */
export { toUtf8 as textOf } from './support/bytes.js'

/** Bytes of something that is no Uint8Array. */
export function bytesFrom (value: unknown): Uint8Array {
  if (typeof value === 'string') return fromUtf8(value)
  if (value instanceof ArrayBuffer) return new Uint8Array(value)
  if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength)
  if (Array.isArray(value)) return Uint8Array.from(value as number[])
  throw new TypeError(`expected a string, bytes or an array of them, not ${value === null ? 'null' : typeof value}`)
}

/** Runs something later without keeping the process alive for it. */
export function unrefTimer (timer: unknown): void {}

let turns: MessageChannel | null = null
const steps: Array<() => void> = []

/** Runs something in the next turn of the event loop: a message to oneself is not slowed down as timers are. */
export function nextTurn (step: () => void): void {
  if (turns === null) {
    turns = new MessageChannel()
    turns.port1.onmessage = () => { steps.shift()?.() }
  }
  steps.push(step)
  turns.port2.postMessage(null)
}

/** Opens a WebSocket to a relay. */
export function openSocket (url: string, protocols?: string[]): unknown {
  const socket = protocols === undefined ? new WebSocket(url) : new WebSocket(url, protocols)
  socket.binaryType = 'arraybuffer'
  return socket
}

/** Storage that a path means, on this platform. */
export { indexedDbPath as openPath } from './storage/indexed-db.js'

/** Storage in a folder: not here. */
export function openFolder (path: string): never {
  throw new HypertabError('STORAGE_NOT_AVAILABLE', `a browser has no folder ${path}; use a name, which means an IndexedDB database, or opfs() in a worker`)
}
