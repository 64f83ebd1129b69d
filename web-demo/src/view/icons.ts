// The pictures of the page, drawn in the colour of the text around them.

const SVG = 'http://www.w3.org/2000/svg'

/** Paths on a square of 24. */
const PATHS = {
  back: 'M14 6l-6 6 6 6',
  folder: 'M3.5 6.5h6l2 2.5h9v9.5h-17z',
  image: 'M4 5h16v14H4zM4 16l5-5 4 4 2.5-2.5L20 17M15.5 9.5h.01',
  text: 'M6 3.5h8l4 4v13H6zM9 11h6M9 14h6M9 17h4',
  audio: 'M9 18V6l10-2v12M9 18a2.5 2.5 0 1 1-2.5-2.5A2.5 2.5 0 0 1 9 18zM19 16a2.5 2.5 0 1 1-2.5-2.5A2.5 2.5 0 0 1 19 16z',
  video: 'M4 5h16v14H4zM10 9l5 3-5 3z',
  pdf: 'M6 3.5h8l4 4v13H6zM14 3.5v4h4M9 12h6v5H9z',
  other: 'M6 3.5h8l4 4v13H6zM14 3.5v4h4'
}

/** Makes a picture that only decorates: what it stands for has to be said in words, too. */
export function icon (name: keyof typeof PATHS): SVGSVGElement {
  const element = document.createElementNS(SVG, 'svg')
  element.setAttribute('viewBox', '0 0 24 24')
  element.setAttribute('aria-hidden', 'true')
  const path = document.createElementNS(SVG, 'path')
  path.setAttribute('d', PATHS[name])
  element.append(path)
  return element
}
