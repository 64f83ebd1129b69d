// What a file is, by its name: how it is shown, and what a browser calls it.

export type FileKind = 'image' | 'text' | 'audio' | 'video' | 'pdf' | 'other'

const TYPES = new Map<string, [FileKind, string]>(Object.entries({
  png: ['image', 'image/png'], jpg: ['image', 'image/jpeg'], jpeg: ['image', 'image/jpeg'], gif: ['image', 'image/gif'],
  webp: ['image', 'image/webp'], avif: ['image', 'image/avif'], svg: ['image', 'image/svg+xml'], ico: ['image', 'image/x-icon'],
  mp3: ['audio', 'audio/mpeg'], wav: ['audio', 'audio/wav'], ogg: ['audio', 'audio/ogg'], opus: ['audio', 'audio/ogg'],
  flac: ['audio', 'audio/flac'], m4a: ['audio', 'audio/mp4'],
  pdf: ['pdf', 'application/pdf'],
  mp4: ['video', 'video/mp4'], webm: ['video', 'video/webm'], mov: ['video', 'video/quicktime'], ogv: ['video', 'video/ogg']
}))

const TEXTS = new Set(['txt', 'md', 'markdown', 'html', 'htm', 'css', 'js', 'mjs', 'ts', 'json', 'xml', 'csv', 'tsv', 'yml', 'yaml', 'toml', 'ini', 'log', 'rs', 'py', 'c', 'h', 'sh', 'rst', 'tex', 'sql'])

/** Bytes up to which a preview is fetched without being asked for. */
export const SMALL = 4_000_000

/** Returns how a file is shown, and its media type. */
export function kindOf (name: string): { kind: FileKind, type: string } {
  const end = /\.([a-z0-9]+)$/i.exec(name)?.[1]?.toLowerCase() ?? ''
  const known = TYPES.get(end)
  if (known) return { kind: known[0], type: known[1] }
  if (TEXTS.has(end) || /^(readme|license|licence|makefile|changelog)/i.test(name)) return { kind: 'text', type: 'text/plain' }
  return { kind: 'other', type: 'application/octet-stream' }
}
