// A small HTTP server for built files, on loopback.

import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { createServer } from 'node:http'
import { once } from 'node:events'
import { extname, join, normalize, sep } from 'node:path'

const TYPES = {
  '.css': 'text/css; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.ico': 'image/x-icon',
  '.js': 'text/javascript; charset=utf-8',
  '.json': 'application/json; charset=utf-8',
  '.map': 'application/json; charset=utf-8',
  '.mjs': 'text/javascript; charset=utf-8',
  '.png': 'image/png',
  '.svg': 'image/svg+xml',
  '.txt': 'text/plain; charset=utf-8',
  '.wasm': 'application/wasm',
  '.webmanifest': 'application/manifest+json',
  '.woff2': 'font/woff2'
}

/**
 * Serves folders and fixed answers until it is closed.
 *
 * @param {Record<string, string | object>} routes path prefix to a folder, as `/`: `web-demo/dist`, or exact path
 *   to `{ type, body, headers }`. The longest match wins.
 * @param {{ port?: number, host?: string }} [options]
 * @returns {Promise<{ url: string, close: () => Promise<void> }>} `url` without a slash at the end
 */
export async function serveStatic (routes, { port = 0, host = '127.0.0.1' } = {}) {
  const prefixes = Object.keys(routes).sort((a, b) => b.length - a.length)
  const server = createServer((request, response) => {
    answer(routes, prefixes, request, response).catch(() => response.destroy())
  })
  server.listen(port, host)
  await once(server, 'listening')
  const address = /** @type {import('node:net').AddressInfo} */ (server.address())
  return {
    url: `http://${host}:${address.port}`,
    async close () {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    }
  }
}

async function answer (routes, prefixes, request, response) {
  const path = decodePath(request.url)
  const prefix = path && prefixes.find((prefix) => path === prefix || (prefix.endsWith('/') && path.startsWith(prefix)))
  const route = prefix && routes[prefix]
  if (!route) return refuse(response, 404)
  if (request.method !== 'GET' && request.method !== 'HEAD') return refuse(response, 405)
  if (typeof route !== 'string') {
    response.writeHead(200, { ...HEADERS, ...route.headers, 'content-type': route.type })
    return response.end(request.method === 'GET' ? route.body : undefined)
  }
  const below = normalize(path.slice(prefix.length))
  if (below.startsWith('..')) return refuse(response, 404)
  let file = join(route, below)
  let info = await stat(file).catch(() => null)
  if (info?.isDirectory()) {
    file = join(file, 'index.html')
    info = await stat(file).catch(() => null)
  }
  if (!info?.isFile() || !file.startsWith(join(route, sep))) return refuse(response, 404)
  response.writeHead(200, {
    ...HEADERS,
    'content-type': TYPES[extname(file)] ?? 'application/octet-stream',
    'content-length': info.size
  })
  if (request.method === 'HEAD') return response.end()
  createReadStream(file).on('error', () => response.destroy()).pipe(response)
}

const HEADERS = { 'cache-control': 'no-cache', 'x-content-type-options': 'nosniff' }

function decodePath (url) {
  try {
    const path = decodeURIComponent(new URL(url, 'http://localhost').pathname)
    return path.includes('\0') ? null : path
  } catch {
    return null
  }
}

function refuse (response, status) {
  response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' })
  response.end(`${status}\n`)
}
