// What the person is called in rooms: one name for this browser.

import { setSetting, setting } from '../settings.ts'
import { LONGEST_NAME } from './operations.ts'

const SETTING = 'hypertab.nickname'

/** Returns the name, or the empty text when none was given. */
export function nickname (): string {
  return (setting(SETTING) ?? '').slice(0, LONGEST_NAME)
}

export function setNickname (name: string): void {
  setSetting(SETTING, name.trim().slice(0, LONGEST_NAME))
}
