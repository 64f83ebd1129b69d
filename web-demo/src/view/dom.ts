// Small help with elements.

/** Returns the element of index.html with this id. */
export function byId<T extends HTMLElement = HTMLElement> (id: string): T {
  const element = document.getElementById(id)
  if (!element) throw new Error(`index.html has no #${id}`)
  return element as T
}

/** Makes an element with properties and children. */
export function make<K extends keyof HTMLElementTagNameMap> (
  tag: K,
  properties: Partial<HTMLElementTagNameMap[K]> & { testid?: string, tone?: string } = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag)
  const { testid, tone, ...rest } = properties
  Object.assign(element, rest)
  if (testid) element.dataset.testid = testid
  if (tone) element.dataset.tone = tone
  element.append(...children)
  return element
}

/** Writes a text only when it is another one, so that screen readers hear each change once. */
export function setText (element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text
}

/** Replaces children only when `fingerprint` is another one than last time. */
export function setChildren (element: HTMLElement, fingerprint: string, children: () => (Node | string)[]): void {
  if (element.dataset.fingerprint === fingerprint) return
  element.dataset.fingerprint = fingerprint
  element.replaceChildren(...children())
}

/** Empties what {@link setChildren} filled: the same children are put back then. */
export function clearChildren (element: HTMLElement): void {
  delete element.dataset.fingerprint
  element.replaceChildren()
}

/** Brings what was just chosen into sight, where it is below what it was chosen in. */
export function reveal (element: HTMLElement): void {
  const { top } = element.getBoundingClientRect()
  if (top > innerHeight * 0.75 || top < 0) element.scrollIntoView({ block: 'start', behavior: matchMedia('(prefers-reduced-motion: reduce)').matches ? 'auto' : 'smooth' })
}

/** Says something in passing. */
export function toast (words: string): void {
  const element = byId('toast')
  element.textContent = words
  element.classList.add('shown')
  clearTimeout(toastTimer)
  toastTimer = setTimeout(() => {
    element.classList.remove('shown')
    element.textContent = ''
  }, 4000)
}

let toastTimer: ReturnType<typeof setTimeout> | undefined

/** Puts a text on the clipboard and says so. */
export async function copy (text: string, what: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text)
    toast(`${what} copied`)
  } catch {
    toast('The browser did not allow copying. Select the text and copy it by hand.')
  }
}

/** Returns the context of a canvas whose pixels are the screen's, and its size in CSS pixels. */
export function context2d (canvas: HTMLCanvasElement): { context: CanvasRenderingContext2D, width: number, height: number } | null {
  const { clientWidth: width, clientHeight: height } = canvas
  const context = canvas.getContext('2d')
  if (!context || width === 0 || height === 0) return null
  const scale = devicePixelRatio
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
    canvas.width = Math.round(width * scale)
    canvas.height = Math.round(height * scale)
  }
  context.setTransform(scale, 0, 0, scale, 0, 0)
  context.clearRect(0, 0, width, height)
  return { context, width, height }
}

/** Returns a colour of tokens.css as the canvas understands it. */
export function colour (name: string): string {
  probe.style.color = `var(--${name})`
  if (!probe.isConnected) document.body.append(probe)
  return getComputedStyle(probe).color
}

/** Calls `listener` when the colours became other ones, by the system or by choice. */
export function onColours (listener: () => void): void {
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', listener)
  new MutationObserver(listener).observe(document.documentElement, { attributeFilter: ['data-scheme'] })
}

const probe = document.createElement('i')
probe.hidden = true
