// What the service worker and a page of the application tell each other.

/** Where drives are, below the scope of the service worker. */
export const FOLDER = 'hyper/'

/** What a page says to a service worker that it is not under, as after a reload that leaves it out. */
export const CLAIM = 'hypertab-claim'

/** A question to a page: it answers on the port that comes along. */
export interface Question {
  hypertab: 'drive'
  key: string
  version: number | null
  /** Not escaped; begins with a slash. */
  path: string
}

/** What a script of a document asks the page around it for; it is answered on the port that comes along. */
export interface FileQuestion {
  hypertab: 'file'
  key: string
  version: number | null
  path: string
  /** What only documents of the drive know. */
  token: string
}

/** A whole file; without bytes when there is none. */
export interface WholeFile {
  type: string
  bytes: Uint8Array | null
}

/** The answers of a page. The first one that is no `nobody` is the one. */
export type Answer =
  /** This page does not serve the drive. */
  | { is: 'nobody' }
  | { is: 'missing', text: string }
  | { is: 'failed', text: string }
  | { is: 'moved', path: string }
  | { is: 'file', path: string, size: number, tag: string, type: string, isFixed: boolean }
  /** The bytes of a page that was made for the folder. */
  | { is: 'folder', tag: string, html: string, isFixed: boolean }

/** What the service worker asks for on the port of a file, and what comes. */
export type Wish = { start: number, end: number } | 'more' | 'stop'
export type Piece = { bytes: Uint8Array } | { end: true } | { error: string }
