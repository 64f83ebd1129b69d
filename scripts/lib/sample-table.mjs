// The sample table: what is known of the numbers up to 9000, and which of them are prime.

import Hyperbee from 'hyperbee'

/** With the primes among them, some ten thousand rows. */
const LAST = 9_000

/** Makes the sample table in a core. Keys are `number/0042` and `prime/0041`; values are JSON. */
export async function makeTable (core) {
  const bee = new Hyperbee(core, { keyEncoding: 'utf-8', valueEncoding: 'json' })
  await bee.ready()
  const batch = bee.batch()
  let primes = 0
  for (let number = 1; number <= LAST; number++) {
    const factors = factorsOf(number)
    const name = String(number).padStart(4, '0')
    await batch.put(`number/${name}`, { factors: factors.join(' × ') || '1', divisors: divisors(number), roman: roman(number), binary: number.toString(2) })
    if (factors.length === 1) await batch.put(`prime/${name}`, { index: ++primes, gap: number - previousPrime(number) })
  }
  await batch.flush()
  await bee.put('about', { title: `The numbers up to ${LAST}`, rows: LAST + primes, primes })
  return bee
}

function factorsOf (number) {
  const factors = []
  for (let factor = 2; number > 1; factor++) {
    for (; number % factor === 0; number /= factor) factors.push(factor)
  }
  return factors
}

function divisors (number) {
  let count = 0
  for (let divisor = 1; divisor <= number; divisor++) if (number % divisor === 0) count++
  return count
}

function previousPrime (number) {
  for (let before = number - 1; before > 1; before--) if (factorsOf(before).length === 1) return before
  return 0
}

// From 4000 on, the thousands are the letters of a smaller number with a line above each.
function roman (number) {
  if (number >= 4000) return roman(Math.floor(number / 1000)).replace(/./g, '$&\u0305') + roman(number % 1000)
  const signs = { M: 1000, CM: 900, D: 500, CD: 400, C: 100, XC: 90, L: 50, XL: 40, X: 10, IX: 9, V: 5, IV: 4, I: 1 }
  let text = ''
  for (const [sign, value] of Object.entries(signs)) for (; number >= value; number -= value) text += sign
  return text
}
