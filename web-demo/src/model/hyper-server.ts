// Answers the service worker, which serves files of drives over HTTP: here is what is in them.

import { parseDriveLink } from './address.ts'
import type { Drive, FilePart } from './drive.ts'
import type { Source } from './file-fetch.ts'
import { servedType } from './file-kind.ts'
import { sentence } from './problem.ts'

/** What the service worker asks for. */
interface Wish {
  /** Key and maybe version, as in a link. */
  readonly host: string
  readonly path: string
  readonly range: { readonly start: number, readonly end: number | null } | { readonly suffix: number } | null
}

/** The first answer. With status 0 this tab has nothing to say about the drive. */
type Answer =
  | { readonly status: 0 | 301 }
  | { readonly status: 404 | 416 | 504, readonly words: string, readonly size?: number }
  | { readonly status: 200 | 206, readonly type: string, readonly size: number, readonly start: number, readonly end: number }

/** Bytes of one message to the service worker, at most. */
const CHUNK = 1_048_576

/** Serves drives, which `find` gives by key: those that are open, or can be opened, in this tab. */
export function serveDrives (find: (id: string) => Promise<Drive | null>): void {
  navigator.serviceWorker?.addEventListener('message', ({ data, ports: [port] }) => {
    const wish = (data as { hyper?: Wish } | null)?.hyper
    if (wish && port) void answer(wish, port, find)
  })
  navigator.serviceWorker?.startMessages()
}

/** Returns where a file of a drive is served; null where no service worker runs. */
export function servedAddress (id: string, path: string, version: number | null): string | null {
  if (!navigator.serviceWorker?.controller) return null
  const place = `hyper/${id}${version === null ? '' : `+${version}`}${path.split('/').map(encodeURIComponent).join('/')}`
  return new URL(place, document.baseURI).href
}

async function answer (wish: Wish, port: MessagePort, find: (id: string) => Promise<Drive | null>): Promise<void> {
  try {
    const { id, version } = parseDriveLink(wish.host)
    const drive = await find(id)
    if (!drive?.isOpen) return port.postMessage({ status: 0 } satisfies Answer)
    const found = await fileAt(drive, wish.path, version)
    if (found === 'folder') return port.postMessage({ status: 301 } satisfies Answer)
    if (!found) return port.postMessage({ status: 404, words: `There is no ${wish.path} in this drive.` } satisfies Answer)
    const { size } = found.part
    const [start, end] = boundsOf(wish.range, size)
    if (start >= end && size > 0) return port.postMessage({ status: 416, words: 'There is no such part.', size } satisfies Answer)
    port.postMessage({ status: wish.range ? 206 : 200, type: servedType(found.path), size, start, end } satisfies Answer)
    send(found.part.read(start, end), port)
  } catch (error) {
    port.postMessage({ status: 504, words: `This cannot be fetched now. ${sentence(error)}` } satisfies Answer)
  }
}

// A folder is its index.html, below an address that ends with a slash.
async function fileAt (drive: Drive, path: string, version: number | null): Promise<{ part: FilePart, path: string } | 'folder' | null> {
  const isFolder = path.endsWith('/')
  const wanted = isFolder ? `${path}index.html` : path
  const part = await drive.part(wanted, version)
  if (part) return { part, path: wanted }
  return !isFolder && await drive.isFolder(path, version) ? 'folder' : null
}

function boundsOf (range: Wish['range'], size: number): [start: number, end: number] {
  if (!range) return [0, size]
  if ('suffix' in range) return [Math.max(0, size - range.suffix), size]
  return [range.start, Math.min(range.end ?? size, size)]
}

// A chunk for each time that more is asked for: what is not played is not fetched.
function send (source: Source, port: MessagePort): void {
  const iterator = source[Symbol.asyncIterator]()
  let rest: Uint8Array | null = null
  let last = Promise.resolve()
  const next = async () => {
    try {
      const chunk: Uint8Array | null = rest ?? await iterator.next().then(({ value, done }) => done ? null : value as Uint8Array)
      if (chunk === null) return port.postMessage({ isOver: true })
      rest = chunk.byteLength > CHUNK ? chunk.subarray(CHUNK) : null
      // A copy of its own: the chunk may be a part of more.
      const piece = chunk.slice(0, CHUNK)
      port.postMessage({ chunk: piece }, [piece.buffer])
    } catch (error) {
      port.postMessage({ fault: sentence(error) })
    }
  }
  port.onmessage = ({ data }) => {
    if (data === 'stop') {
      source.destroy()
      port.close()
    } else {
      last = last.then(next)
    }
  }
}
