// What the page remembers in this browser: in localStorage, or only while the page is open where the browser refuses that, as in some
// private windows and where cookies are blocked.

const local = find()
const here = new Map<string, string>()

/** Whether the browser keeps anything of this page. */
export const isKept = local !== null

/** Returns what was set; null for nothing. */
export function setting (name: string): string | null {
  return local ? local.getItem(name) : here.get(name) ?? null
}

/** Sets something, or removes it with null. */
export function setSetting (name: string, value: string | null): void {
  if (value === null) {
    here.delete(name)
    local?.removeItem(name)
  } else if (local) {
    local.setItem(name, value)
  } else {
    here.set(name, value)
  }
}

function find (): Storage | null {
  try {
    return globalThis.localStorage ?? null
  } catch {
    return null
  }
}
