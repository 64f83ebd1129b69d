// Figures as a person reads them.

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB']

/** Bytes, in thousands. */
export function bytes (count: number): string {
  let unit = 0
  while (count >= 999.5 && unit < UNITS.length - 1) {
    count /= 1000
    unit++
  }
  return `${unit === 0 || count >= 100 ? Math.round(count) : count.toFixed(1)} ${UNITS[unit]}`
}

/** A count, with separators. */
export function count (value: number): string {
  return value.toLocaleString('en')
}

/** The ends of a key. */
export function short (id: string): string {
  return id.length <= 14 ? id : `${id.slice(0, 6)}…${id.slice(-6)}`
}
