// The panel of the package for people who build, as any page would use it. It is loaded when somebody opens it.

import type { HypertabInspector } from 'hypertab/inspector'

import type { Inspected } from '../model/network.ts'
import { sentence } from '../model/problem.ts'
import { make } from './dom.ts'

export class InspectorPanel {
  readonly element: HTMLDetailsElement
  readonly #inspected: () => Inspected
  readonly #place = make('div', { className: 'inspector-place', testid: 'inspector' }, make('p', { className: 'note' }, 'Loading…'))
  #inspector: HypertabInspector | null = null
  #isLoading = false

  constructor (inspected: () => Inspected) {
    this.#inspected = inspected
    this.element = make('details', { className: 'card inspector-card', testid: 'inspector-card' },
      make('summary', {}, make('h2', {}, 'Inspector'), make('span', { className: 'note' }, 'every core that is open, with its blocks and peers')), this.#place)
    this.element.addEventListener('toggle', () => this.render())
  }

  /** Shows what is there by now. */
  render (): void {
    if (!this.element.open) return this.#leave()
    if (this.#inspector === null) {
      if (!this.#isLoading) void this.#load()
      return
    }
    const { store, swarm, cores } = this.#inspected()
    if (this.#inspector.store !== store) this.#inspector.store = store
    if (this.#inspector.swarm !== swarm) this.#inspector.swarm = swarm
    if (cores.length !== this.#inspector.cores.length || cores.some((core, index) => core !== this.#inspector!.cores[index])) this.#inspector.cores = cores
  }

  async #load (): Promise<void> {
    this.#isLoading = true
    try {
      await import('hypertab/inspector')
      this.#inspector = document.createElement('hypertab-inspector')
      this.#place.replaceChildren(this.#inspector)
      this.render()
    } catch (error) {
      this.#place.replaceChildren(make('p', { className: 'note' }, sentence(error)))
    } finally {
      this.#isLoading = false
    }
  }

  // Nobody looks.
  #leave (): void {
    if (this.#inspector === null) return
    this.#inspector = null
    this.#place.replaceChildren(make('p', { className: 'note' }, 'Loading…'))
  }
}
