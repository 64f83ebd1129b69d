// What members write into their logs: one operation a block, with a clock that orders what depends on each other.

/** Longest text of a message or of an item, in characters. */
export const LONGEST_TEXT = 4_000

/** Longest name of a member, in characters. */
export const LONGEST_NAME = 40

/** Longest place of a drive's keys, in characters. */
const LONGEST_SPACE = 100

/** Largest clock that is taken: a member who claims more could stop the others from counting on. */
const LARGEST_CLOCK = 2 ** 40

/** Furthest from 1970 that a time can be, in milliseconds: no calendar shows others. */
const LARGEST_TIME = 8.64e15

export type Operation =
  | { readonly op: 'say', readonly text: string }
  /** Adds an item to the list. What it is called is the author and the place in the author's log. */
  | { readonly op: 'add', readonly text: string }
  | { readonly op: 'edit', readonly item: string, readonly text: string }
  | { readonly op: 'check', readonly item: string, readonly isDone: boolean }
  | { readonly op: 'remove', readonly item: string }
  /** Tells one's own other devices of a drive or table: where its keys are derived from, and how long it is at least. */
  | { readonly op: 'own', readonly kind: 'drive' | 'table', readonly id: string, readonly space: string, readonly title: string, readonly length: number }

/** An operation with who wrote it, and when. */
export interface Written {
  /** The author's log. */
  readonly author: string
  readonly index: number
  /** Above every clock that the author had seen. */
  readonly clock: number
  /** By the author's watch, in milliseconds since 1970; for show only. */
  readonly time: number
  /** What the author is called. */
  readonly name: string
  readonly operation: Operation
}

/** Writes an operation as a block. */
export function encodeOperation (operation: Operation, { clock, time, name }: { clock: number, time: number, name: string }): Uint8Array {
  return new TextEncoder().encode(JSON.stringify({ clock, time, name, ...operation }))
}

/** Reads a block; null when it is no operation. */
export function decodeOperation (block: Uint8Array, author: string, index: number): Written | null {
  let given: Record<string, unknown> | null
  try {
    given = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(block))
  } catch {
    return null
  }
  if (typeof given !== 'object' || given === null) return null
  const { clock, time, name } = given
  if (!Number.isInteger(clock) || (clock as number) < 0 || (clock as number) > LARGEST_CLOCK || typeof time !== 'number' || Math.abs(time) > LARGEST_TIME || !isText(name, LONGEST_NAME)) return null
  const operation = operationOf(given)
  return operation && { author, index, clock: clock as number, time, name: name as string, operation }
}

/** Returns the clock of what is written next by somebody who has seen this one. */
export function nextClock (seen: number): number {
  return Math.min(seen + 1, LARGEST_CLOCK)
}

/** Orders operations; the same for all members, whatever came first. */
export function compareWritten (a: Pick<Written, 'clock' | 'author' | 'index'>, b: Pick<Written, 'clock' | 'author' | 'index'>): number {
  return a.clock - b.clock || (a.author < b.author ? -1 : a.author > b.author ? 1 : a.index - b.index)
}

function operationOf ({ op, text, item, isDone, kind, id, space, title, length }: Record<string, unknown>): Operation | null {
  switch (op) {
    case 'say':
    case 'add': return isText(text, LONGEST_TEXT) ? { op, text: text as string } : null
    case 'edit': return isItem(item) && isText(text, LONGEST_TEXT) ? { op, item: item as string, text: text as string } : null
    case 'check': return isItem(item) && typeof isDone === 'boolean' ? { op, item: item as string, isDone } : null
    case 'remove': return isItem(item) ? { op, item: item as string } : null
    case 'own':
      if ((kind !== 'drive' && kind !== 'table') || typeof id !== 'string' || !/^[a-z0-9]{52}$/.test(id)) return null
      if (!isText(space, LONGEST_SPACE) || !isText(title, LONGEST_TEXT) || !Number.isSafeInteger(length) || (length as number) < 0) return null
      return { op, kind, id, space: space as string, title: title as string, length: length as number }
    default: return null
  }
}

function isText (value: unknown, longest: number): boolean {
  return typeof value === 'string' && value.length <= longest
}

function isItem (value: unknown): boolean {
  return typeof value === 'string' && /^[a-z0-9]{52}:\d{1,15}$/.test(value)
}
