// A key as words that can be written on paper, as BIP-39 has them: 24 of a list of 2048, the last one partly a checksum.
//
// Loaded when somebody wants words; the list is large.

import { entropyToMnemonic, mnemonicToEntropy, validateMnemonic } from '@scure/bip39'
import { wordlist } from '@scure/bip39/wordlists/english.js'

const WORDS = 24

/** Words that differ from one of the list within this many letters are taken for it in what is said about them. */
const NEAR = 2

export function toWords (key: Uint8Array): string[] {
  return entropyToMnemonic(key, wordlist).split(' ')
}

/** Reads words, however they are separated and numbered. Throws a sentence that says what is wrong. */
export function fromWords (text: string): Uint8Array {
  const words = text.toLowerCase().replace(/[^a-z]+/g, ' ').trim().split(' ').filter(Boolean)
  const unknown = words.find((word) => !wordlist.includes(word))
  if (unknown !== undefined) {
    const near = wordlist.filter((word) => distance(word, unknown) <= NEAR).slice(0, 3)
    throw new Error(`“${unknown}” is none of the words.${near.length === 0 ? '' : ` Could it be ${near.map((word) => `“${word}”`).join(' or ')}?`}`)
  }
  if (words.length !== WORDS) throw new Error(`These are ${words.length} words, and a key has ${WORDS}.`)
  const phrase = words.join(' ')
  if (!validateMnemonic(phrase, wordlist)) throw new Error('These words do not belong together: one of them is another one, or two are swapped.')
  return mnemonicToEntropy(phrase, wordlist)
}

// Letters to change, add or leave out between two words.
function distance (a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, place) => place)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)))
    row = next
  }
  return row[b.length]!
}
