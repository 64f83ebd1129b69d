// The emitter of streams in a browser, for what asks for the one that works everywhere.

import { EventEmitter as BareEvents } from 'bare-events'

type Listener = (...args: any[]) => unknown

export class EventEmitter extends BareEvents {
  // Streams begin to flow when they are listened to, in an `on` of their own; Node's `once` goes through it.
  override once (name: any, listener: Listener): this {
    super.once(name, listener)
    if (this.on === EventEmitter.prototype.on) return this
    this.on(name, nothing)
    this.off(name, nothing)
    return this
  }
}

function nothing (): void {}
