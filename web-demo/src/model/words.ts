// Numbers in words.

const plain = new Intl.NumberFormat('en')
const compact = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 2 })
const UNITS = ['B', 'kB', 'MB', 'GB', 'TB']

/** Writes a count with separators; from ten million on, in short. */
export function count (value: number): string {
  return value < 10_000_000 ? plain.format(value) : compact.format(value)
}

/** Writes a count with the thing counted. */
export function counted (value: number, one: string, many = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : many}`
}

/** Writes a number of bytes. */
export function bytes (value: number): string {
  let unit = 0
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000
    unit++
  }
  const digits = unit === 0 || value >= 100 ? 0 : value >= 10 ? 1 : 2
  return `${value.toFixed(digits)} ${UNITS[unit]}`
}

/** Writes a share as percent; never "100 %" before all of it is there, nor "0 %" when there is something. */
export function share (part: number, whole: number): string {
  if (whole === 0 || part === 0) return '0\u00a0%'
  if (part < whole / 100) return 'under 1\u00a0%'
  if (part >= whole) return '100\u00a0%'
  return `${Math.min(99, Math.floor(part / whole * 100))}\u00a0%`
}

/** Writes a time to wait. */
export function duration (seconds: number): string {
  if (seconds < 60) return `${seconds} s`
  if (seconds < 3600) return `${Math.round(seconds / 60)} min`
  return `${Math.floor(seconds / 3600)} h ${Math.round(seconds % 3600 / 60)} min`
}
