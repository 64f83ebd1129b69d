// Serves what is in drives below hyper/<key>[+<version>]/: to players and pictures, and as web sites. The files come from a tab
// of the page, which has the drives; here is only HTTP.
//
// A document of a drive runs no script and sends nothing anywhere: it has the page's own origin, and so it could read
// everything that the page stores.

/** How long a tab may take to say whether it has a drive, in milliseconds. */
const ANSWER_MS = 10_000

/** How long an answer keeps this worker, in milliseconds; a player asks again from where it was. */
const KEEP_MS = 120_000

const hyperBase = new URL('hyper/', self.registration.scope).href

/** What is asked for, or null when it is nothing of a drive. */
function hyperPlace (url) {
  if (!url.startsWith(hyperBase)) return null
  const [host, ...path] = url.slice(hyperBase.length).replace(/[?#].*$/, '').split('/')
  try {
    return host ? { host, path: `/${path.map(decodeURIComponent).join('/')}`, isRoot: path.length === 0 } : null
  } catch {
    return null
  }
}

/** Where a document of a drive leads that names a file from the top: the top is the drive's. */
async function hyperAddress (request, clientId) {
  if (request.url.startsWith(hyperBase)) return request.url
  const client = clientId ? await self.clients.get(clientId) : null
  const from = hyperPlace(client?.url ?? request.referrer)
  const url = new URL(request.url)
  return from && url.origin === self.location.origin ? `${hyperBase}${from.host}${url.pathname}` : null
}

/** Whether a request may be of a drive's document. Cheap: it is asked for every request. */
function mayBeHyper (request) {
  return request.url.startsWith(hyperBase) || request.referrer.startsWith(hyperBase)
}

async function hyperResponse (event) {
  const { request } = event
  const address = await hyperAddress(request, event.clientId)
  if (address === null) return await fetch(request)
  if (address !== request.url && request.mode === 'navigate') return Response.redirect(address)
  const place = hyperPlace(address)
  if (place === null) return plain(404, 'There is no such address.')
  if (place.isRoot) return Response.redirect(`${address}/`)
  const range = rangeOf(request.headers.get('range'))
  const windows = (await self.clients.matchAll({ type: 'window', includeUncontrolled: true })).filter(({ url }) => !url.startsWith(hyperBase))
  for (const client of windows) {
    const answer = await askFor(client, { ...place, range })
    if (answer === null) continue
    if (answer.status === 301) return Response.redirect(`${address}/`)
    if (answer.status >= 400) return plain(answer.status, answer.words, answer)
    return fileResponse(event, answer, place.host)
  }
  return plain(503, 'No tab of the page is open that could fetch this. Open the page, and the drive in it, then load this again.')
}

// Null when the tab has no such drive, or does not answer.
async function askFor (client, wish) {
  const { port1: port, port2 } = new MessageChannel()
  const answered = new Promise((resolve) => { port.onmessage = ({ data }) => resolve(data) })
  client.postMessage({ hyper: wish }, [port2])
  const answer = await Promise.race([answered, new Promise((resolve) => { setTimeout(resolve, ANSWER_MS, null) })])
  if (answer === null || answer.status === 0) {
    port.close()
    return null
  }
  return { ...answer, port }
}

function fileResponse (event, { status, type, size, start, end, port }, host) {
  let finish
  const over = new Promise((resolve) => { finish = resolve })
  event.waitUntil(Promise.race([over, new Promise((resolve) => { setTimeout(resolve, KEEP_MS) })]))
  const body = new ReadableStream({
    pull: (controller) => new Promise((resolve) => {
      port.onmessage = ({ data: { chunk, isOver, fault } }) => {
        if (chunk) controller.enqueue(chunk)
        if (isOver) { controller.close(); finish() }
        if (fault) { controller.error(new Error(fault)); finish() }
        resolve()
      }
      port.postMessage('more')
    }),
    cancel () {
      port.postMessage('stop')
      port.close()
      finish()
    }
  }, { highWaterMark: 0 })
  return new Response(body, {
    status,
    headers: {
      ...HYPER_HEADERS,
      'content-security-policy': policyFor(host),
      'content-type': type,
      'content-length': String(end - start),
      ...(status === 206 ? { 'content-range': `bytes ${start}-${end - 1}/${size}` } : {})
    }
  })
}

const HYPER_HEADERS = { 'accept-ranges': 'bytes', 'cache-control': 'no-store', 'x-content-type-options': 'nosniff', 'referrer-policy': 'same-origin', 'cross-origin-resource-policy': 'same-origin' }

// Without scripts, the origin's rights are of no use. Files come from this drive only, so that nothing tells who reads it.
function policyFor (host) {
  const own = `${hyperBase}${host}/ ${self.location.origin}/`
  return `sandbox allow-same-origin; default-src 'none'; img-src ${own} data:; media-src ${own}; font-src ${own} data:; style-src ${own} 'unsafe-inline'; base-uri 'self'; form-action 'none'; frame-ancestors 'self'`
}

function plain (status, words, { size } = {}) {
  const headers = { ...HYPER_HEADERS, 'content-security-policy': policyFor('none'), 'content-type': 'text/plain; charset=utf-8', ...(status === 416 ? { 'content-range': `bytes */${size}` } : {}) }
  return new Response(`${words}\n`, { status, headers })
}

/** Reads the one range that players ask for; null for all of it. */
function rangeOf (header) {
  const [, first, last] = /^bytes=(\d*)-(\d*)$/.exec(header ?? '') ?? []
  if (first === undefined || (first === '' && last === '')) return null
  return first === '' ? { suffix: Number(last) } : { start: Number(first), end: last === '' ? null : Number(last) + 1 }
}
