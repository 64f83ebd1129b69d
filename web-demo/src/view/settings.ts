// The settings: which relay, which colours, what is stored.

import { relayChoice, relayFault, setRelay } from '../model/config.ts'
import { isKept, setSetting, setting } from '../model/settings.ts'
import { bytes } from '../model/words.ts'
import { byId, toast } from './dom.ts'

const SCHEME = 'hypertab.scheme'

/** Applies the colours that were chosen. */
export function applyScheme (): void {
  const scheme = setting(SCHEME)
  if (scheme) document.documentElement.dataset.scheme = scheme
  else delete document.documentElement.dataset.scheme
}

export class SettingsView {
  #dialog = byId<HTMLDialogElement>('settings')
  #relay = byId<HTMLInputElement>('relay-input')
  #help = byId('relay-help')
  #persist = byId<HTMLButtonElement>('persist')
  #onChange: () => void

  /** `onChange` is called when another relay was chosen. */
  constructor (onChange: () => void) {
    this.#onChange = onChange
    byId('settings-form').addEventListener('submit', (event) => { event.preventDefault(); this.#save() })
    byId('settings-cancel').addEventListener('click', () => this.#dialog.close())
    byId('relay-reset').addEventListener('click', () => { setRelay(null); this.#dialog.close(); this.#onChange() })
    this.#relay.addEventListener('input', () => this.#explainRelay())
    this.#persist.addEventListener('click', async () => {
      toast(await navigator.storage.persist() ? 'The browser will keep what is stored' : 'The browser does not promise it; use the page more, or install it')
      this.#describeStorage()
    })
  }

  open (): void {
    const { address } = relayChoice()
    this.#relay.value = address
    this.#explainRelay()
    const scheme = setting(SCHEME) ?? 'system'
    for (const input of this.#dialog.querySelectorAll<HTMLInputElement>('input[name=scheme]')) input.checked = input.value === scheme
    this.#describeStorage()
    this.#dialog.showModal()
  }

  #save (): void {
    const address = this.#relay.value.trim()
    const fault = relayFault(address)
    if (fault) {
      this.#fault(fault)
      this.#relay.focus()
      return
    }
    const scheme = this.#dialog.querySelector<HTMLInputElement>('input[name=scheme]:checked')?.value
    setSetting(SCHEME, scheme === undefined || scheme === 'system' ? null : scheme)
    applyScheme()
    this.#dialog.close()
    if (address === relayChoice().address) return
    setRelay(address)
    this.#onChange()
  }

  #explainRelay (): void {
    const { address, source } = relayChoice()
    this.#fault(null)
    const words = {
      'address bar': 'This one comes from ?relay= in the address bar.',
      settings: 'Chosen by you, in this browser.',
      page: 'This is the page’s own.'
    }
    this.#help.textContent = this.#relay.value.trim() === address && address !== '' ? words[source] : 'A relay passes bytes on; it never holds your keys.'
  }

  #fault (fault: string | null): void {
    this.#relay.toggleAttribute('aria-invalid', false)
    delete this.#help.dataset.tone
    if (fault === null) return
    this.#relay.setAttribute('aria-invalid', 'true')
    this.#help.dataset.tone = 'bad'
    this.#help.textContent = fault
  }

  async #describeStorage (): Promise<void> {
    const words = byId('storage-words')
    this.#persist.hidden = true
    if (!isKept) {
      words.textContent = 'This browser keeps nothing for this page.'
      return
    }
    if (!navigator.storage?.estimate) {
      words.textContent = 'This browser does not tell how much is stored.'
      return
    }
    const { usage = 0, quota = 0 } = await navigator.storage.estimate()
    const isPersistent = await navigator.storage.persisted?.() ?? false
    words.textContent = `${bytes(usage)} used of ${bytes(quota)}. ${isPersistent ? 'The browser keeps it until you remove it.' : 'The browser may delete it when the disk runs full.'}`
    this.#persist.hidden = isPersistent
  }
}
