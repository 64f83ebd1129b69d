// Elements that are made once and changed in place: what is open stays open, and what has the focus keeps it.

/** Makes an element. Attributes that are null are left out. */
export function make<N extends keyof HTMLElementTagNameMap> (name: N, attributes: Record<string, string | null> = {}, ...children: Array<Node | string>): HTMLElementTagNameMap[N] {
  const element = document.createElement(name)
  for (const [attribute, value] of Object.entries(attributes)) if (value !== null) element.setAttribute(attribute, value)
  element.append(...children)
  return element
}

export function setText (element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text
}

/** Rows of a list, each for one thing. */
export class Rows<T> {
  readonly #parent: Element
  readonly #make: () => { element: Element, update: (item: T) => void }
  readonly #rows = new Map<string, { element: Element, update: (item: T) => void }>()

  constructor (parent: Element, make: () => { element: Element, update: (item: T) => void }) {
    this.#parent = parent
    this.#make = make
  }

  show (items: T[], idOf: (item: T) => string): void {
    const left = new Set(this.#rows.keys())
    let before: Element | null = null
    for (const item of items) {
      const id = idOf(item)
      left.delete(id)
      let row = this.#rows.get(id)
      if (!row) this.#rows.set(id, row = this.#make())
      row.update(item)
      const place: Element | null = before === null ? this.#parent.firstElementChild : before.nextElementSibling
      if (place !== row.element) this.#parent.insertBefore(row.element, place)
      before = row.element
    }
    for (const id of left) {
      this.#rows.get(id)!.element.remove()
      this.#rows.delete(id)
    }
  }
}
