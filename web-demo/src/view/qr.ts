// Shows a link as a QR code, for a phone to read.

import { copy, make, setText } from './dom.ts'

/** Modules of white around the code that readers ask for. */
const BORDER = 4

const SVG = 'http://www.w3.org/2000/svg'

let dialog: { element: HTMLDialogElement, title: HTMLElement, code: SVGSVGElement, link: HTMLElement } | null = null

/** Opens a dialog with the code of a link. */
export async function showQr (title: string, link: string): Promise<void> {
  const { encode } = await import('uqr')
  const { data, size } = encode(link, { ecc: 'M', border: BORDER })
  dialog ??= makeDialog()
  setText(dialog.title, title)
  setText(dialog.link, link)
  dialog.code.setAttribute('viewBox', `0 0 ${size} ${size}`)
  dialog.code.setAttribute('aria-label', `QR code of ${link}`)
  const path = document.createElementNS(SVG, 'path')
  path.setAttribute('d', data.map((row, y) => row.map((isBlack, x) => isBlack ? `M${x} ${y}h1v1h-1z` : '').join('')).join(''))
  dialog.code.replaceChildren(path)
  dialog.element.showModal()
}

function makeDialog () {
  const title = make('h2', { id: 'qr-title' })
  const link = make('code', { className: 'qr-link', testid: 'qr-link' })
  const code = document.createElementNS(SVG, 'svg')
  code.classList.add('qr-code')
  code.dataset.testid = 'qr-code'
  code.setAttribute('role', 'img')
  const copyLink = make('button', { type: 'button', className: 'button', testid: 'qr-copy' }, 'Copy link')
  copyLink.addEventListener('click', () => copy(link.textContent ?? '', 'Link'))
  const element = make('dialog', { className: 'dialog qr', testid: 'qr' },
    make('form', { method: 'dialog' }, title, code, link,
      make('div', { className: 'dialog-actions' }, copyLink, make('button', { className: 'button primary', testid: 'qr-close' }, 'Close'))))
  element.setAttribute('aria-labelledby', title.id)
  document.body.append(element)
  return { element, title, code, link }
}
