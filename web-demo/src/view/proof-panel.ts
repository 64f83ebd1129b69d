// The proof of the chosen block: the tree around it, and every step from its bytes to the author's signature.

import { toHex } from '../model/key.ts'
import type { Log } from '../model/log.ts'
import { sentence } from '../model/problem.ts'
import type { BlockProof, Node } from '../model/proof.ts'
import { bytes, count } from '../model/words.ts'
import { make, setText } from './dom.ts'
import { draw, layOut, wordsOf } from './tree-picture.ts'

/** Hex digits of a hash that are shown; the rest is in its title. */
const SHOWN = 12

/** Blocks beside each other in the picture, on a phone and on larger screens. */
const NARROW = 4
const WIDE = 8

export class ProofPanel {
  readonly element: HTMLElement
  readonly #title = make('h2', {}, 'Proof')
  readonly #forge = make('input', { type: 'checkbox', testid: 'forge' })
  readonly #verdict = make('p', { className: 'verdict', testid: 'verdict', role: 'status' })
  readonly #picture = document.createElementNS('http://www.w3.org/2000/svg', 'svg')
  readonly #steps = make('ol', { className: 'steps', testid: 'proof-steps', ariaLabel: 'Steps of the proof' })
  readonly #body = make('div', { className: 'proof-grid', hidden: true })
  readonly #tools: HTMLElement
  readonly #isNarrow = matchMedia('(max-width: 640px)')
  #log: Log | null = null
  #index = -1
  #shown = ''
  #turn = 0

  constructor () {
    this.#picture.classList.add('tree')
    this.#picture.dataset.testid = 'tree'
    this.#picture.setAttribute('role', 'img')
    this.#tools = make('label', { className: 'switch' }, this.#forge, make('span', { ariaHidden: 'true' }), 'Forge it')
    this.#forge.addEventListener('change', () => this.#again())
    this.#isNarrow.addEventListener('change', () => this.#again())
    const legend = make('p', { className: 'legend', ariaHidden: 'true' },
      ...[['held', 'on the way'], ['part', 'uncle'], ['stored', 'stored'], ['', 'not stored']].map(([kind, words]) => make('span', {}, make('span', { className: `swatch ${kind}` }), words!)))
    this.#body.append(make('div', { className: 'tree-box' }, this.#picture, legend), this.#steps)
    this.element = make('section', { className: 'card proof', ariaLabel: 'Proof', testid: 'proof' },
      make('div', { className: 'card-head' }, this.#title, this.#tools), this.#verdict, this.#body)
  }

  /** Shows the proof of a block; of none for a negative index. */
  show (log: Log | null, index: number): void {
    this.#log = log
    this.#index = index
    this.#forge.checked = false
    this.#shown = ''
    this.refresh()
  }

  /** Looks again when the log has grown, or the block has come. */
  refresh (): void {
    const [log, index] = [this.#log, this.#index]
    const isHere = log !== null && index >= 0 && log.held.has(index)
    this.#tools.hidden = !isHere
    if (!log || !isHere) {
      this.#body.hidden = true
      delete this.#verdict.dataset.tone
      setText(this.#title, 'Proof')
      setText(this.#verdict, index < 0 ? 'Choose a block to see how it is proven: by hashes up to a root, and the author’s signature over the roots.' : 'The block is proven when it comes.')
      return
    }
    const shown = `${log.entry.id} ${index} ${log.length} ${this.#forge.checked}`
    if (shown === this.#shown) return
    this.#shown = shown
    void this.#load(log, index, ++this.#turn)
  }

  #again (): void {
    this.#shown = ''
    this.refresh()
  }

  async #load (log: Log, index: number, turn: number): Promise<void> {
    try {
      const proof = await log.prove(index, this.#forge.checked)
      const tree = layOut(index, proof.length, this.#isNarrow.matches ? NARROW : WIDE)
      const stored = await log.storedNodes([...tree.places.keys()])
      if (turn !== this.#turn) return
      const isWrong = (node: number) => proof.isForged && tree.path.has(node)
      draw(this.#picture, tree, index, stored, isWrong)
      this.#picture.setAttribute('aria-label', `Tree around block ${index}: ${tree.path.size} nodes on the way up to root ${proof.root.index}, hashed with ${tree.uncles.size} uncles; ${proof.roots.length} roots in all`)
      this.#body.hidden = false
      setText(this.#title, `Proof of block ${count(index)}`)
      this.#verdict.dataset.tone = isRight(proof) ? 'good' : 'bad'
      setText(this.#verdict, verdict(proof))
      this.#steps.replaceChildren(...stepsOf(proof))
    } catch (error) {
      if (turn !== this.#turn) return
      this.#body.hidden = true
      this.#verdict.dataset.tone = 'warn'
      setText(this.#verdict, sentence(error))
    }
  }
}

function isRight ({ isRootRight, isSignatureRight, refusal }: BlockProof): boolean {
  return isRootRight && isSignatureRight && refusal === null
}

function verdict (proof: BlockProof): string {
  if (isRight(proof)) return 'Every hash was made again just now, and the author’s signature is right.'
  const said = proof.refusal === null ? 'The engine takes it all the same.' : `The engine says: ${sentence(proof.refusal)}`
  if (!proof.isForged) return `This does not come out right. ${said}`
  return `One bit of the block was changed, as a peer could do it. No root comes out that the author signed: it is refused, and its sender named. ${said}`
}

function stepsOf ({ isForged, block, leaf, climbs, root, isRootRight, roots, head, length, fork, signer, signature, isSignatureRight }: BlockProof): HTMLElement[] {
  const changed = isForged ? 'changed' : ''
  return [
    step(changed, `${bytes(block.byteLength)} of the block, hashed: leaf ${leaf.index}`, leaf),
    ...climbs.map(({ uncle, parent }) => step(changed, `with uncle ${uncle.index}, over ${wordsOf(uncle.index)}: node ${parent.index}`, parent, uncle)),
    step(isRootRight ? 'good' : 'bad', isRootRight ? `This is root ${root.index}, as it is stored` : `The root ${root.index} that is stored is another one`, root),
    step(isForged ? 'changed' : '', `${roots.length === 1 ? 'The root' : `All ${roots.length} roots`}, ${roots.map(({ index }) => index).join(', ')}: the hash of the log`, { hash: head }),
    step(isSignatureRight ? 'good' : 'bad', `${isSignatureRight ? 'Signed' : 'Not what was signed'} for length ${count(length)}, fork ${fork}, by`, { hash: signer }),
    step(isSignatureRight ? 'good' : 'bad', isSignatureRight ? 'The signature is right' : 'The signature is wrong for this', { hash: signature })
  ]
}

function step (state: string, words: string, node: Pick<Node, 'hash'>, uncle?: Node): HTMLElement {
  const item = make('li', { className: 'step', testid: 'proof-step' }, make('span', { className: 'step-words' }, words), code(node.hash))
  if (uncle) item.title = `Node ${uncle.index} is ${toHex(uncle.hash)}`
  if (state) item.dataset.state = state
  return item
}

function code (value: Uint8Array): HTMLElement {
  const hex = toHex(value)
  const element = make('code', { title: hex }, `${hex.slice(0, SHOWN)}…`)
  element.dataset.hex = hex
  return element
}
