// What sessions are waiting for, in lists that can be given up at once.

import { HypercoreError } from '../errors.js'
import { unrefTimer } from '../platform.js'
import type { Request } from '../runtime.js'

/** One thing that a list waits for. */
export interface ActiveRequest<T = unknown> {
  readonly promise: Promise<T>
  /** Gives it up; its promise rejects. */
  cancel (error?: Error | null): void
  /** It cannot be; its promise rejects, also that of a wish. */
  fail (error: Error): void
}

/** A session's requests, or a program's own. A null in front marks one that was destroyed. */
export type ActiveRequests = Array<ActiveRequest | null>

/** Adds a request to a list until it ends, and rejects it when it takes longer than the time given. */
export function track<T> (list: ActiveRequests, request: Request<T>, timeout = 0): ActiveRequest<T> {
  return add(list, request, request.promise, timeout)
}

/** As {@link track}, for a wish that came true or did not: given up, it resolves to false. */
export function trackWish (list: ActiveRequests, request: Request<boolean | undefined>): ActiveRequest<boolean> {
  let cancelled = false
  const promise = request.promise.then((value) => value !== false, (error) => {
    if (cancelled) return false
    throw error
  })
  promise.catch(() => {})
  return add(list, request, promise, 0, () => { cancelled = true })
}

function add<T> (list: ActiveRequests, request: Request<unknown>, promise: Promise<T>, timeout: number, oncancel?: () => void): ActiveRequest<T> {
  const entry: ActiveRequest<T> = {
    promise,
    cancel: (error) => {
      oncancel?.()
      remove(list, entry)
      request.cancel(error ?? HypercoreError.REQUEST_CANCELLED())
    },
    fail: (error) => {
      remove(list, entry)
      request.cancel(error)
    }
  }
  list.push(entry)
  // As upstream: what is below zero is over at once.
  const timer = timeout ? setTimeout(() => { entry.cancel(HypercoreError.REQUEST_TIMEOUT()) }, timeout) : undefined
  const done = () => {
    clearTimeout(timer)
    remove(list, entry)
  }
  request.promise.then(done, done)
  return entry
}

let turns = 0
let isCounting = false

/** A number that stays the same until the event loop has turned. */
export function turn (): number {
  if (!isCounting) {
    isCounting = true
    unrefTimer(setTimeout(() => {
      isCounting = false
      turns++
    }))
  }
  return turns
}

/** Gives up everything in a list. */
export function clearRequests (list: ActiveRequests, error: Error | null = null): void {
  if (isDestroyed(list)) return
  while (list.length > 0) list[list.length - 1]!.cancel(error)
}

/** Gives up everything in a list, and whatever is to be added. */
export function destroyRequests (list: ActiveRequests, error: Error | null = null): void {
  if (isDestroyed(list)) return
  clearRequests(list, error)
  list.push(null)
}

/** Throws when the list was destroyed. */
export function ensureAlive (list: ActiveRequests): void {
  if (isDestroyed(list)) throw HypercoreError.REQUEST_CANCELLED()
}

function isDestroyed (list: ActiveRequests): boolean {
  return list.length > 0 && list[0] === null
}

function remove (list: ActiveRequests, entry: ActiveRequest<never> | ActiveRequest): void {
  const index = list.indexOf(entry as ActiveRequest)
  if (index === -1) return
  const last = list.pop()!
  if (index < list.length) list[index] = last
}
