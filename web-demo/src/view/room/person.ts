// How a member is shown: by a name and a mark in one of a few colours.

import { make } from '../dom.ts'

/** Colours for marks; tokens.css has as many. */
const TINTS = 6

/** Returns what a member is called. */
export function personName (id: string, name: string): string {
  return name || `Guest ${id.slice(0, 4)}`
}

/** Makes the mark of a member. */
export function personMark (id: string, name: string): HTMLElement {
  const tint = [...id].reduce((sum, letter) => sum + letter.charCodeAt(0), 0) % TINTS
  return make('span', { className: `mark tint-${tint}`, ariaHidden: 'true' }, [...personName(id, name)][0]!.toUpperCase())
}
