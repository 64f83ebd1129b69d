// How two versions of a drive differ: its paths, or the lines of one text in it.

import type { Change, Drive, FileDifference } from '../model/drive.ts'
import { MOST_DIFFERENCES } from '../model/drive.ts'
import { kindOf, SMALL } from '../model/file-kind.ts'
import { sentence } from '../model/problem.ts'
import { diffLines } from '../model/text-diff.ts'
import type { Line } from '../model/text-diff.ts'
import { bytes, count, counted } from '../model/words.ts'
import { make, setText } from './dom.ts'

/** Lines around a change that are shown. */
const AROUND = 3

/** Most lines of a comparison that are shown. */
const MOST_LINES = 1_000

export class DriveCompare {
  readonly element = make('form', { className: 'compare', noValidate: true, hidden: true })
  readonly #older = make('select', { className: 'field small', id: 'compare-older', testid: 'compare-older' })
  readonly #newer = make('select', { className: 'field small', id: 'compare-newer', testid: 'compare-newer' })
  readonly #help = make('p', { className: 'help', testid: 'compare-help', role: 'status' })
  readonly #result = make('div', { className: 'compared', testid: 'compared' })
  #drive: Drive | null = null
  #folder = '/'
  #file: string | null = null
  #shown = ''
  #turn = 0

  constructor () {
    this.element.append(
      make('div', { className: 'diff-form' },
        make('label', { htmlFor: this.#older.id }, 'Compare'), this.#older,
        make('label', { htmlFor: this.#newer.id }, 'with'), this.#newer,
        make('button', { type: 'submit', className: 'button small', testid: 'compare-run' }, 'Compare')),
      this.#help, this.#result)
    this.element.addEventListener('submit', (event) => { event.preventDefault(); void this.#compare() })
  }

  /** Offers the versions of a file, or of all in a folder. */
  show (drive: Drive | null, folder: string, file: string | null, changes: readonly Change[]): void {
    this.#drive = drive
    this.#folder = folder
    this.#file = file
    this.element.hidden = drive === null || changes.length < 2
    const shown = JSON.stringify([drive?.entry.id, folder, file, changes])
    if (shown === this.#shown) return
    this.#shown = shown
    this.#turn++
    this.#result.replaceChildren()
    delete this.#help.dataset.tone
    setText(this.#help, '')
    for (const [select, chosen] of [[this.#older, 1], [this.#newer, 0]] as const) {
      select.replaceChildren(...changes.map(({ version, path }) => make('option', { value: String(version) }, file ? count(version) : `${count(version)} ${path}`)))
      select.selectedIndex = chosen
    }
  }

  async #compare (): Promise<void> {
    const [drive, file] = [this.#drive, this.#file]
    const [older, newer] = [Number(this.#older.value), Number(this.#newer.value)].sort((a, b) => a - b) as [number, number]
    if (!drive) return
    const turn = ++this.#turn
    this.#result.replaceChildren()
    delete this.#help.dataset.tone
    setText(this.#help, 'Comparing…')
    try {
      const [words, elements] = file ? await compareFile(drive, file, older, newer) : pathsOf(await drive.compare(this.#folder, older, newer))
      if (turn !== this.#turn) return
      setText(this.#help, words)
      this.#result.replaceChildren(...elements)
    } catch (error) {
      if (turn !== this.#turn) return
      this.#help.dataset.tone = 'bad'
      setText(this.#help, drive.peers.length === 0 ? 'These versions are not on this device, and nobody who has them is connected.' : sentence(error))
    }
  }
}

type Compared = [words: string, elements: HTMLElement[]]

async function compareFile (drive: Drive, path: string, older: number, newer: number): Promise<Compared> {
  const sizes = (await drive.compare(path.slice(0, path.lastIndexOf('/')) || '/', older, newer)).find((difference) => difference.path === path)
  if (!sizes) return ['Both are the same.', []]
  const words = `${sizeWords(sizes.older)} in version ${count(older)}, ${sizeWords(sizes.newer)} in version ${count(newer)}.`
  const { kind, type } = kindOf(path)
  if (!['text', 'image'].includes(kind) || Math.max(sizes.older ?? 0, sizes.newer ?? 0) > SMALL) return [words, []]
  const [before, after] = await Promise.all([drive.read(path, older), drive.read(path, newer)])
  if (kind === 'image') return [words, [make('div', { className: 'compared-images' }, ...[before, after].map((image, place) => picture(image, type, place === 0 ? older : newer)))]]
  const decoder = new TextDecoder()
  const lines = diffLines(before ? decoder.decode(before) : '', after ? decoder.decode(after) : '')
  if (!lines) return [`${words} They are too far apart to be compared line by line.`, []]
  const [added, removed] = ['+', '-'].map((sign) => lines.filter((line) => line.sign === sign).length) as [number, number]
  return [`${words} ${counted(added, 'line')} added, ${count(removed)} removed.`, [make('pre', { className: 'lines', tabIndex: 0, ariaLabel: 'Lines that differ' }, ...linesOf(lines))]]
}

function pathsOf (differences: FileDifference[]): Compared {
  const words = differences.length === MOST_DIFFERENCES ? `The first ${count(MOST_DIFFERENCES)} files that differ.` : `${counted(differences.length, 'file')} ${differences.length === 1 ? 'differs' : 'differ'}.`
  return [words, [make('ul', { className: 'differences' }, ...differences.map(({ path, older, newer }) => {
    const sign = older === null ? '+' : newer === null ? '−' : '~'
    return make('li', { testid: 'file-difference' },
      make('span', { className: 'sign', ariaLabel: { '+': 'added', '−': 'removed', '~': 'changed' }[sign], role: 'img' }, sign),
      make('span', { className: 'change-path' }, `${path} `, make('span', { className: 'note' }, older === null || newer === null ? bytes((newer ?? older)!) : `${bytes(older)} → ${bytes(newer)}`)))
  }))]]
}

// Changed lines, with some around them.
function linesOf (lines: readonly Line[]): HTMLElement[] {
  const near = new Set<number>()
  lines.forEach(({ sign }, place) => {
    if (sign !== ' ') for (let at = place - AROUND; at <= place + AROUND; at++) near.add(at)
  })
  const shown = [...lines.keys()].filter((place) => near.has(place)).slice(0, MOST_LINES)
  return shown.flatMap((place, index) => {
    const { sign, text } = lines[place]!
    const line = make(sign === '+' ? 'ins' : sign === '-' ? 'del' : 'span', { testid: 'diff-line' }, `${sign === '-' ? '−' : sign} ${text}\n`)
    return index > 0 && shown[index - 1] !== place - 1 ? [make('span', { className: 'gap' }, '⋯\n'), line] : [line]
  })
}

function picture (image: Uint8Array | null, type: string, version: number): HTMLElement {
  const caption = make('figcaption', { className: 'note' }, `version ${count(version)}`)
  if (!image) return make('figure', {}, make('p', { className: 'empty' }, 'no file'), caption)
  const url = URL.createObjectURL(new Blob([image as BlobPart], { type }))
  const element = make('img', { src: url, alt: `In version ${version}` })
  for (const event of ['load', 'error']) element.addEventListener(event, () => URL.revokeObjectURL(url))
  return make('figure', {}, element, caption)
}

function sizeWords (size: number | null): string {
  return size === null ? 'no file' : bytes(size)
}
