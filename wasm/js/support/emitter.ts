// Event emitters with typed events, of the kind that upstream's classes are.

import { PlatformEmitter } from '../platform.js'

/** Arguments of each event. */
export type EventMap = Record<string | symbol, unknown[]>

// An intersection would do for calls, and would refuse listeners that take fewer arguments than there are.
type Arguments<T> = T extends unknown[] ? T : never

export type Listener<A extends unknown[]> = (...args: A) => unknown

/** The emitter of Node, or one that behaves the same. */
export interface Emitter<M> {
  on<E extends keyof M> (name: E, listener: Listener<Arguments<M[E]>>): this
  once<E extends keyof M> (name: E, listener: Listener<Arguments<M[E]>>): this
  off<E extends keyof M> (name: E, listener: Listener<Arguments<M[E]>>): this
  addListener<E extends keyof M> (name: E, listener: Listener<Arguments<M[E]>>): this
  removeListener<E extends keyof M> (name: E, listener: Listener<Arguments<M[E]>>): this
  removeAllListeners (name?: keyof M): this
  emit<E extends keyof M> (name: E, ...args: Arguments<M[E]>): boolean
  listeners (name: keyof M): Array<Listener<never>>
  listenerCount (name: keyof M): number
  eventNames (): Array<string | symbol>
  setMaxListeners (count: number): this
  getMaxListeners (): number
}

export const EventEmitter = PlatformEmitter as new <M>() => Emitter<M>
