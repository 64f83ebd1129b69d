// Asks before something is deleted.

import { byId, setText } from './dom.ts'

/** Asks, and resolves with whether the person agreed. */
export function confirm (title: string, words: string): Promise<boolean> {
  const dialog = byId<HTMLDialogElement>('confirm')
  setText(byId('confirm-title'), title)
  setText(byId('confirm-words'), words)
  dialog.returnValue = ''
  dialog.showModal()
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => resolve(dialog.returnValue === 'yes'), { once: true })
  })
}
