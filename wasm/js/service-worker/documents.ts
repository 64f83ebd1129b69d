// Documents of drives, so that they have no rights of the application.
//
// One without scripts keeps the origin, which gives it nothing, and loads what it shows through the service worker. One with scripts
// has an origin of its own: no storage, no keys, no way to the application. A service worker serves no such document, so what it needs
// is put into it. What its scripts ask for later they get from the page around it, where the application shows it in a frame.

import type { Place } from './places.js'
import type { Scope } from './drives.js'
import { FOLDER } from './words.js'

/** Bytes that are put into one document, and that it may have itself. */
export const MOST = 32 << 20

/** How deep styles and modules may name others. */
const DEPTH = 16

/** Gives a file of the drive, by its path; null when there is none, it is not to be had now, or has more bytes. */
export type Load = (path: string, most: number) => Promise<{ type: string, bytes: Uint8Array } | null>

/** A link that names a window, or the like of it. */
const NAMED = /target\s*=(?!\s*["']?_(?:blank|self|parent|top)["'\s>])/i

/** The policy of a document, by whether it has scripts. */
export function documentPolicy ({ registration }: Scope, runs: boolean, html: string, type: string): string {
  // Chromium takes any tab with a name for one that the document has opened where those are free of its sandbox. In XML, entities hide names.
  const popups = NAMED.test(html) || !type.startsWith('text/html') ? '' : 'allow-popups-to-escape-sandbox '
  const frames = new URL(FOLDER, registration.scope).href
  return runs
    ? 'sandbox allow-scripts allow-forms allow-modals allow-popups allow-downloads allow-pointer-lock; ' +
      `default-src data: blob: 'unsafe-inline' 'unsafe-eval'; frame-src ${frames}; object-src 'none'; form-action 'none'; base-uri 'none'`
    // Its origin gives it nothing without scripts. The sandbox keeps its links from taking the application's tab somewhere else.
    : `sandbox allow-same-origin allow-popups ${popups}allow-downloads; script-src 'none'; default-src 'self' data: blob:; style-src 'self' data: 'unsafe-inline'; ` +
      `frame-src ${frames}; object-src 'none'; form-action 'none'; base-uri 'none'`
}

/** A document with what it needs inside. */
export async function withOwnOrigin (html: string, asked: Place, token: string, load: Load): Promise<string> {
  const inliner = new Inliner(asked, load)
  const body = await inliner.html(html, asked.path!)
  const start = `<script>${BOOTSTRAP}(${inScript(asked.root)}, ${inScript(JSON.stringify({ key: asked.key, version: asked.version, token }))})</script>`
  return HEAD.test(body) ? body.replace(HEAD, (head) => head + start) : `<!doctype html>${start}${body.replace(/^\s*<!doctype[^>]*>/i, '')}`
}

const HEAD = /<head\b[^<>]*>/i

class Inliner {
  readonly #asked: Place
  readonly #load: Load
  #left = MOST
  #known = new Map<string, Promise<string | null>>()

  constructor (asked: Place, load: Load) {
    this.#asked = asked
    this.#load = load
  }

  async html (html: string, path: string): Promise<string> {
    // Each pattern takes what begins at once, whether or not it ends: of many beginnings without an end, none is looked through twice.
    const styled = await replaceAll(html, /(<style\b[^>]*>?)([^]*?)(<\/style>|$)/gi, async ([, open, css, close]) => `${open}${await this.#css(css!, path, 0)}${close}`)
    const scripted = await replaceAll(styled, /(<script\b[^>]*>?)([^]*?)(<\/script>|$)/gi, async ([whole, open, code, close]) => {
      return isModule(open!) && code!.trim() !== '' ? `${open}${await this.#module(code!, path, 0)}${close}` : whole!
    })
    return await replaceAll(scripted, /<(script|link|img|source|video|audio|track|input)\b[^>]*/gi, async ([tag, name]) => await this.#tag(tag!, name!.toLowerCase(), path))
  }

  async #tag (tag: string, name: string, path: string): Promise<string> {
    if (name === 'link' && !/\brel\s*=\s*["']?[^"'>]*(stylesheet|icon)/i.test(tag)) return tag
    const kind = name === 'script' && isModule(tag) ? 'module' : name === 'link' ? 'style' : 'any'
    const bare = tag.replace(/\s(srcset|integrity|crossorigin)(\s*=\s*("[^"]*"|'[^']*'|[^\s>]+))?/gi, '')
    return await replaceAll(bare, /\b(src|href|poster)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>]+))/gi, async ([whole, attribute, ...values]) => {
      const inline = await this.#inline(values.find((value) => value !== undefined)!.replaceAll('&amp;', '&'), path, kind, 0)
      return inline === null ? whole! : `${attribute}="${inline}"`
    })
  }

  /** An address as data; null for one that stays as it is. */
  async #inline (address: string, from: string, kind: 'module' | 'style' | 'any', depth: number): Promise<string | null> {
    const path = this.#pathOf(address, from)
    if (path === null || depth > DEPTH) return null
    const name = `${kind} ${path}`
    let known = this.#known.get(name)
    if (!known) this.#known.set(name, known = this.#data(path, kind, depth))
    return await known
  }

  async #data (path: string, kind: 'module' | 'style' | 'any', depth: number): Promise<string | null> {
    const file = await this.#load(path, this.#left)
    if (file === null) return null
    this.#left -= file.bytes.byteLength
    let { bytes } = file
    if (kind === 'module') bytes = new TextEncoder().encode(await this.#module(new TextDecoder().decode(bytes), path, depth + 1))
    if (kind === 'style' && file.type.startsWith('text/css')) bytes = new TextEncoder().encode(await this.#css(new TextDecoder().decode(bytes), path, depth + 1))
    return `data:${file.type.replaceAll(' ', '')};base64,${base64(bytes)}`
  }

  async #css (css: string, path: string, depth: number): Promise<string> {
    const imported = await replaceAll(css, /(@import\s+)(?:"([^"]*)"|'([^']*)')/gi, async ([whole, start, ...values]) => {
      const inline = await this.#inline(values.find((value) => value !== undefined)!, path, 'style', depth)
      return inline === null ? whole! : `${start}"${inline}"`
    })
    return await replaceAll(imported, /url\(\s*(?:"([^"]*)"|'([^']*)'|([^()\s"']+))\s*\)/gi, async ([whole, ...values]) => {
      const address = values.find((value) => value !== undefined)!
      const inline = await this.#inline(address, path, /\.css([?#]|$)/i.test(address) ? 'style' : 'any', depth)
      return inline === null ? whole! : `url("${inline}")`
    })
  }

  async #module (code: string, path: string, depth: number): Promise<string> {
    const names = /(\bfrom\s*|\bimport(?:\s*\(\s*|\s*))(["'])(\.{0,2}\/[^"'\n]*)\2/g
    return await replaceAll(code, names, async ([whole, start, , address]) => {
      const inline = await this.#inline(address!, path, 'module', depth)
      return inline === null ? whole! : `${start}"${inline}"`
    })
  }

  /** The path in the drive; null for what is not in it. */
  #pathOf (address: string, from: string): string | null {
    if (address === '' || address.startsWith('#')) return null
    try {
      const { root } = this.#asked
      const url = new URL(address.startsWith('/') && !address.startsWith('//') ? `.${address}` : address, address.startsWith('/') ? root : new URL(from.slice(1).split('/').map(encodeURIComponent).join('/'), root))
      return url.href.startsWith(root) ? `/${decodeURIComponent(url.pathname.slice(new URL(root).pathname.length))}` : null
    } catch {
      return null
    }
  }
}

/**
 * Runs first in a document with scripts: what they ask for later comes from the page around it. A text, because it runs elsewhere: whoever
 * builds this module may give its functions what they need only here.
 */
const BOOTSTRAP = `((root, drive) => {
  const inDrive = (address) => {
    const url = new URL(address, document.baseURI)
    if (url.href.startsWith(root)) return url
    return url.origin === new URL(root).origin ? new URL('.' + url.pathname + url.search, root) : null
  }
  const load = (url) => new Promise((resolve, reject) => {
    if (parent === window) return reject(new TypeError('Failed to fetch'))
    const { port1, port2 } = new MessageChannel()
    port1.onmessage = ({ data }) => {
      port1.close()
      resolve(data)
    }
    const path = '/' + decodeURIComponent(url.pathname.slice(new URL(root).pathname.length))
    parent.postMessage({ hypertab: 'file', ...JSON.parse(drive), path }, '*', [port2])
  })
  const real = window.fetch
  window.fetch = async (input, init) => {
    const url = inDrive(input instanceof Request ? input.url : input)
    if (url === null) return await real(input, init)
    const { type, bytes } = await load(url)
    return bytes ? new Response(bytes, { headers: { 'content-type': type } }) : new Response('not found', { status: 404 })
  }
  const fill = (element) => {
    if (element instanceof HTMLIFrameElement || element instanceof HTMLScriptElement) return
    for (const attribute of ['src', 'poster', ...(element instanceof HTMLLinkElement && /stylesheet|icon/.test(element.rel) ? ['href'] : [])]) {
      const address = element.getAttribute(attribute)
      if (!address || /^(data|blob):/i.test(address)) continue
      const url = inDrive(address)
      if (url === null) continue
      load(url).then(({ type, bytes }) => { if (bytes) element.setAttribute(attribute, URL.createObjectURL(new Blob([bytes], { type }))) }, () => {})
    }
  }
  new MutationObserver((changes) => {
    for (const { type, target, addedNodes } of changes) {
      if (type === 'attributes') fill(target)
      for (const node of addedNodes) {
        if (!(node instanceof Element)) continue
        for (const element of [node, ...node.querySelectorAll('[src], [poster], link')]) fill(element)
      }
    }
  }).observe(document, { childList: true, subtree: true, attributes: true, attributeFilter: ['src', 'poster'] })
})`

function isModule (tag: string): boolean {
  return /\btype\s*=\s*["']?module\b/i.test(tag)
}

async function replaceAll (text: string, pattern: RegExp, replace: (match: string[]) => Promise<string>): Promise<string> {
  const parts: string[] = []
  let at = 0
  for (const match of text.matchAll(pattern)) {
    parts.push(text.slice(at, match.index), await replace([...match]))
    at = match.index + match[0].length
  }
  return parts.join('') + text.slice(at)
}

function base64 (bytes: Uint8Array): string {
  const parts: string[] = []
  for (let at = 0; at < bytes.byteLength; at += 0x8000) parts.push(String.fromCharCode(...bytes.subarray(at, at + 0x8000)))
  return btoa(parts.join(''))
}

/** A text as a literal that cannot end its script. */
function inScript (text: string): string {
  return JSON.stringify(text).replaceAll('<', '\\u003c')
}
