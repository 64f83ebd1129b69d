// What went wrong, in words, and what to do about it.

export interface Problem {
  /** Stable name of the state, for tests and styles. */
  readonly state: 'locked' | 'full' | 'refused' | 'conflict' | 'corrupt' | 'too-new' | 'unsupported' | 'wrong-kind' | 'broken'
  readonly title: string
  readonly detail: string
  /** Whether trying again may help. */
  readonly canRetry: boolean
}

/** Explains why a log, or another thing, could not be opened, read or written. What is one's own is not to be had from others. */
export function explain (error: unknown, what = 'log', isOwn = false): Problem {
  const names = chain(error).flatMap(({ name, code }) => [name, code].filter((word) => typeof word === 'string'))
  const is = (...wanted: string[]) => names.some((name) => wanted.includes(name))
  if (is('STORAGE_OTHER_VERSION')) {
    return { state: 'locked', title: 'Another tab has an older version of this page', detail: 'Load that tab again, or close it, then try again here.', canRetry: true }
  }
  if (is('STORAGE_LOCKED', 'STORAGE_TAKEN_OVER')) {
    return {
      state: 'locked',
      title: 'Another tab took it over',
      detail: `Without a secure connection (https) a browser lets only one tab hold ${what === 'log' ? 'a log' : 'drives, tables and rooms'}. Close the other one, then try again here.`,
      canRetry: true
    }
  }
  if (is('QuotaExceededError', 'STORAGE_FULL')) {
    return {
      state: 'full',
      title: 'This browser’s storage is full',
      detail: `What is stored stays. Remove a ${what} that you no longer need, or free space on the disk, then try again.`,
      canRetry: true
    }
  }
  if (is('SecurityError', 'NotAllowedError', 'InvalidStateError', 'STORAGE_NOT_AVAILABLE')) {
    return {
      state: 'refused',
      title: 'The browser refuses to store anything for this page',
      detail: 'Allow site data for this address, or leave the private window, then try again.',
      canRetry: true
    }
  }
  if (is('STORAGE_CONFLICT')) {
    return {
      state: 'conflict',
      title: `Another ${what} is stored in this place`,
      detail: isOwn ? `It is your own: keep what is stored until you have it from elsewhere.` : `Remove the ${what} from the list and open it again by its key.`,
      canRetry: false
    }
  }
  if (is('STORAGE_CORRUPTED', 'STORAGE_INCOMPLETE', 'OPLOG_CORRUPT', 'INVALID_CHECKSUM', 'DECODING_ERROR', 'INVALID_OPLOG_VERSION')) {
    return {
      state: 'corrupt',
      title: `What is stored of this ${what} cannot be read`,
      detail: isOwn
        ? `It is your own, and cannot be made again: do not remove it. Whoever has read it has a copy${what === 'log' ? '' : ', and so may a backup'}.`
        : `Remove the ${what} from the list and open it again; its blocks are fetched anew.`,
      canRetry: false
    }
  }
  if (is('STORAGE_TOO_NEW')) {
    return {
      state: 'too-new',
      title: 'A later version of this page wrote what is stored',
      detail: 'Nothing was changed. Load the page again; if that does not help, the page itself has gone back to an earlier version.',
      canRetry: true
    }
  }
  if (typeof WebAssembly === 'undefined' || is('CompileError', 'LinkError')) {
    return {
      state: 'unsupported',
      title: 'This browser cannot run the peer',
      detail: 'It needs WebAssembly with SIMD, which current versions of Chrome, Edge, Firefox and Safari have.',
      canRetry: false
    }
  }
  return { state: 'broken', title: `This ${what} could not be opened`, detail: sentence(error), canRetry: true }
}

/** Makes a sentence of an error's message, without the code and key that the package puts around it. */
export function sentence (error: unknown): string {
  const raw = error instanceof Error ? error.message : String(error)
  const message = raw.replace(/^[A-Z_]+: /, '').replace(/ \(discovery key: \w+\)$/, '').trim() || 'the cause is not known'
  return `${message[0]!.toUpperCase()}${message.slice(1)}${/[.!?]$/.test(message) ? '' : '.'}`
}

type Named = { name?: unknown, code?: unknown, cause?: unknown }

// An error that wraps another, as a failed commit wraps what the browser said, is known by either.
function chain (error: unknown): Named[] {
  const errors: Named[] = []
  let next = error as Named | undefined
  while (next && typeof next === 'object' && errors.length < 5) {
    errors.push(next)
    next = next.cause as Named | undefined
  }
  return errors
}
