// What messages travel through: to a worker of this page, or to another tab.

/** One end of a path on which messages stay in order. */
export interface Port {
  /** Whether buffers may be handed over; otherwise they are copied. */
  readonly transfers: boolean
  onmessage: ((message: any) => void) | null
  post (message: unknown, transfer?: ArrayBuffer[]): void
  close (): void
}

/** What workers, their insides and message ports have. */
export interface Postable {
  postMessage (message: unknown, transfer: Transferable[]): void
  onmessage: ((event: MessageEvent) => unknown) | null
}

/** Messages to and from a worker. */
export function workerPort (end: Postable, close: () => void = () => {}): Port {
  const port: Port = {
    transfers: true,
    onmessage: null,
    post: (message, transfer = []) => { end.postMessage(message, transfer) },
    close
  }
  end.onmessage = ({ data }) => { port.onmessage?.(data) }
  return port
}

/** Messages between two that have a channel of the origin to themselves. */
export function channelPort (name: string): Port {
  const channel = new BroadcastChannel(name)
  const port: Port = {
    transfers: false,
    onmessage: null,
    post: (message) => { channel.postMessage(message) },
    close: () => { channel.close() }
  }
  channel.onmessage = ({ data }) => { port.onmessage?.(data) }
  return port
}
