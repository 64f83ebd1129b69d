// Which relay the page uses: the address bar first, then the settings, then config.json beside the page.

import { setSetting, setting } from './settings.ts'

const SETTING = 'hypertab.relay'

export interface RelayChoice {
  /** The address, or the empty string when none is set. */
  readonly address: string
  readonly source: 'address bar' | 'settings' | 'page'
}

/** Keys to try the page with, as far as `config.json` names them. */
export interface Samples {
  readonly log: string | null
  readonly drive: string | null
  readonly table: string | null
}

let pageAddress = ''
let samples: Samples = { log: null, drive: null, table: null }

/** Reads `config.json`; a page without one has no relay of its own. */
export async function loadConfig (): Promise<void> {
  try {
    const response = await fetch(new URL('config.json', document.baseURI))
    const config: unknown = response.ok ? await response.json() : null
    const { relay, sample, sampleDrive, sampleTable } = (config ?? {}) as Record<string, unknown>
    if (typeof relay === 'string') pageAddress = relay.trim()
    const key = (value: unknown) => typeof value === 'string' ? value : null
    samples = { log: key(sample), drive: key(sampleDrive), table: key(sampleTable) }
  } catch {}
}

/** Returns the keys of examples. */
export function sampleKeys (): Samples {
  return samples
}

/** Returns the relay in effect. */
export function relayChoice (): RelayChoice {
  const fromBar = new URL(location.href).searchParams.get('relay')
  if (fromBar !== null) return { address: fromBar.trim(), source: 'address bar' }
  const fromSettings = setting(SETTING)
  if (fromSettings !== null) return { address: fromSettings, source: 'settings' }
  return { address: pageAddress, source: 'page' }
}

/** Keeps a relay for this browser, or goes back to the page's own with null. A relay in the address bar is dropped. */
export function setRelay (address: string | null): void {
  const url = new URL(location.href)
  if (url.searchParams.has('relay')) {
    url.searchParams.delete('relay')
    history.replaceState(null, '', url)
  }
  setSetting(SETTING, address === pageAddress ? null : address)
}

/** Says in a sentence what is wrong with a relay's address, or returns null. */
export function relayFault (address: string): string | null {
  if (address === '') return 'No relay is set. A tab reaches other peers only through one.'
  let url
  try {
    url = new URL(address)
  } catch {
    return `“${address}” is not an address. It has to look like wss://relay.example:49443.`
  }
  if (url.protocol !== 'ws:' && url.protocol !== 'wss:') return `A relay’s address begins with ws:// or wss://, and this one with ${url.protocol}//.`
  if (url.hash !== '') return 'A relay’s address has no # in it.'
  if (url.protocol === 'ws:' && location.protocol === 'https:' && !isLoopback(url.hostname)) {
    return 'This page came over https, so the browser allows only wss:// relays.'
  }
  return null
}

function isLoopback (host: string): boolean {
  return host === 'localhost' || host === '[::1]' || host.startsWith('127.')
}
