// Where the package's service worker serves files of drives: below hyper/ of the page's own address.

/** Returns where a file of a drive is served; null where no service worker runs. */
export function servedAddress (id: string, path: string, version: number | null): string | null {
  if (!navigator.serviceWorker?.controller) return null
  const place = `hyper/${id}${version === null ? '' : `+${version}`}${path.split('/').map(encodeURIComponent).join('/')}`
  return new URL(place, document.baseURI).href
}
