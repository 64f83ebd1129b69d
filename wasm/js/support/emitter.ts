// Event emitters with typed events, of the kind that upstream's classes are.

import { PlatformEmitter } from '../platform.js'

/** Arguments of each event. */
export type EventMap = Record<string | symbol, unknown[]>

export type Listener<A extends unknown[]> = (...args: A) => unknown

/** The emitter of Node, or one that behaves the same. */
export interface Emitter<M> {
  on<E extends keyof M> (name: E, listener: Listener<M[E] & unknown[]>): this
  once<E extends keyof M> (name: E, listener: Listener<M[E] & unknown[]>): this
  off<E extends keyof M> (name: E, listener: Listener<M[E] & unknown[]>): this
  addListener<E extends keyof M> (name: E, listener: Listener<M[E] & unknown[]>): this
  removeListener<E extends keyof M> (name: E, listener: Listener<M[E] & unknown[]>): this
  removeAllListeners (name?: keyof M): this
  emit<E extends keyof M> (name: E, ...args: M[E] & unknown[]): boolean
  listeners (name: keyof M): Array<Listener<never>>
  listenerCount (name: keyof M): number
  eventNames (): Array<string | symbol>
  setMaxListeners (count: number): this
  getMaxListeners (): number
}

export const EventEmitter = PlatformEmitter as new <M>() => Emitter<M>
