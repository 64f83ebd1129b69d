// Finding the page that has a drive, and fetching bytes from it.

import type { Scope } from './drives.js'
import { place, type Place } from './places.js'
import type { Answer, Piece, Question, Wish } from './words.js'

/** How long pages may take to say what they have, in milliseconds: they may have to ask peers. */
const PATIENCE = 30_000

export interface Found {
  answer: Answer
  /** Bytes of the file, as they are read. */
  bytes (start: number, end: number): ReadableStream<Uint8Array>
  /** No bytes are needed. */
  end (): void
}

/** Asks all pages of the application at once, and takes the first one that has the drive. */
export async function ask (scope: Scope, { key, version, path }: Place): Promise<Found> {
  const clients = await scope.clients.matchAll({ includeUncontrolled: true, type: 'all' })
  const question: Question = { hypertab: 'drive', key, version, path: path! }
  const pages = clients.filter(({ url }) => place(scope, new URL(url)) === null)
  return await new Promise((resolve) => {
    let left = pages.length
    let isOver = false
    const over = (answer: Answer, port: MessagePort | null) => {
      if (isOver) {
        port?.postMessage('stop' satisfies Wish)
        port?.close()
        return
      }
      isOver = true
      clearTimeout(timer)
      resolve(found(answer, port))
    }
    const timer = setTimeout(() => { over(left === 0 ? { is: 'nobody' } : { is: 'failed', text: 'the drive does not answer' }, null) }, PATIENCE)
    if (left === 0) over({ is: 'nobody' }, null)
    for (const page of pages) {
      const { port1, port2 } = new MessageChannel()
      port1.onmessage = ({ data }: MessageEvent<Answer>) => {
        if (data.is !== 'nobody') return over(data, port1)
        port1.close()
        if (--left === 0) over(data, null)
      }
      page.postMessage(question, [port2])
    }
  })
}

function found (answer: Answer, port: MessagePort | null): Found {
  const end = () => {
    port?.postMessage('stop' satisfies Wish)
    port?.close()
  }
  const bytes = (start: number, last: number) => new ReadableStream<Uint8Array>({
    start () {
      port?.postMessage({ start, end: last } satisfies Wish)
    },
    async pull (controller) {
      const piece = await new Promise<Piece>((resolve) => {
        port!.onmessage = ({ data }: MessageEvent<Piece>) => { resolve(data) }
        port!.postMessage('more' satisfies Wish)
      })
      if ('bytes' in piece) return controller.enqueue(piece.bytes)
      end()
      if ('error' in piece) controller.error(new Error(piece.error))
      else controller.close()
    },
    cancel: end
  })
  return { answer, bytes, end }
}
