// A store that all tabs and workers of an origin have open: one owns it, the others work through it.
//
// Who holds the Web Lock owns the store. The others wait in the lock's queue, so that the next one has it as soon as the owner is
// gone, and ask the owner now and then: one that is frozen does not answer, and loses the lock. What it still tries to
// write then is refused by the store itself, which belongs to a new owner.

import type { StoreHandle } from '../binding.js'
import { HypertabError } from '../errors.js'
import { Home } from '../remote/home.js'
import { hasMoved, isTakenOver, MOVED, VERSION, type StorageKind } from '../remote/messages.js'
import { channelPort } from '../remote/port.js'
import { routeCalls } from '../remote/router.js'
import { RemoteSession } from '../remote/session.js'
import { openSocket } from '../platform.js'
import { deliver, realmName } from '../runtime.js'
import type { Storage, StoreOpener } from '../storage/storage.js'
import { WriteLocks } from './write-locks.js'

/** How often an owner is asked whether it is there, in milliseconds, and for how long it may be silent. */
const ASK_EVERY = 150
const PATIENCE = 500

/** How often an owner opens a store that somebody else seems to have. */
const ROUNDS = 4

/** How long the first answer of an owner is waited for: it may be starting. */
const FIRST_PATIENCE = 1500

/** What is said on the channel of a store. */
type Word =
  | { say: 'hello', from: string, version: string }
  /** The answer to a hello of another version: no more is said. The first two words of any version are these. */
  | { say: 'stranger', to: string, version: string }
  | { say: 'welcome', to: string, owner: string }
  | { say: 'owner', owner: string }
  | { say: 'ask', from: string }
  | { say: 'here', to: string, owner: string }

let members = 0

/** The lock of a store, which this realm holds. */
interface Held {
  release (): void
  /** Runs when somebody took it away. */
  onstolen: () => void
}

/** What differs between kinds of storage. */
export interface PlaceOpener {
  /** Opens the store in this realm, which has the lock. */
  open (): Promise<StoreHandle>
  destroy (): Promise<void>
}

/** One storage's share in a store. */
export class SharedPlace implements StoreOpener {
  readonly #kind: StorageKind
  readonly #name: string
  readonly #here: PlaceOpener
  readonly #locks: WriteLocks
  #storage: Storage | null = null
  #held: Held | null = null
  #owner: Owner | null = null
  #member: Member | null = null

  constructor (kind: StorageKind, name: string, here: PlaceOpener) {
    this.#kind = kind
    this.#name = name
    this.#here = here
    this.#locks = new WriteLocks(kind, name)
  }

  /** Whether stores can be shared here: pages that are not served securely have no locks. */
  static get isPossible (): boolean {
    return !!globalThis.navigator?.locks && typeof BroadcastChannel === 'function'
  }

  /** Whether this realm owns the store; null while it is not open. */
  get isOwner (): boolean | null {
    return this.#owner ? true : this.#member ? false : null
  }

  /** A file has no transactions: whoever takes it over may have read what its owner had just written. */
  get isUncertain (): boolean {
    return this.#kind === 'opfs'
  }

  /** Says whose store it is. */
  attached (storage: Storage): void {
    this.#storage = storage
  }

  /** Opens the store, here or through its owner. */
  async open (): Promise<StoreHandle> {
    for (;;) {
      const held = this.#held ?? await tryLock(lockName(this.#kind, this.#name))
      const store = await (held ? this.#own(held) : this.#join())
      if (store !== null) return store
    }
  }

  /** Opens the store once more, wherever it is now. */
  async reopen (): Promise<StoreHandle> {
    this.#member?.end()
    this.#member = null
    return await (this.#owner && this.#held ? this.#here.open() : this.open())
  }

  release (): void {
    this.#member?.end()
    this.#member = null
    this.#owner?.end()
    this.#owner = null
    this.#held?.release()
    this.#held = null
  }

  /** Whether somebody else has taken the store over; it may be a moment before one hears of it. */
  async isMoved (): Promise<boolean> {
    for (const start = performance.now(); this.#held !== null && performance.now() - start < FIRST_PATIENCE;) {
      await new Promise((resolve) => { setTimeout(resolve, ASK_EVERY) })
    }
    return this.#held === null
  }

  async destroy (): Promise<void> {
    await this.#here.destroy()
  }

  /** Keeps other tabs from what takes several writes. */
  async lock (topic: string): Promise<() => void> {
    return await this.#locks.acquire(topic, this.#owner !== null && this.#owner.isAlone)
  }

  // Null when it was taken away meanwhile.
  async #own (held: Held): Promise<StoreHandle | null> {
    this.#held = held
    let store: StoreHandle | null = null
    const owner = this.#owner = new Owner(this.#kind, this.#name, this.#storage!, this.#locks)
    held.onstolen = () => {
      this.#held = null
      this.#owner = null
      owner.end()
      if (store !== null) deliver([['store-failed', store, MOVED]])
    }
    for (let round = 1; store === null; round++) {
      try {
        store = await this.#here.open()
      } catch (error) {
        if (this.#owner !== owner && isTakenOver(error)) return null
        // The one before may still have been taking it, too.
        if (this.#owner === owner && isTakenOver(error) && round < ROUNDS) continue
        if (this.#owner === owner) this.release()
        throw error
      }
    }
    if (this.#owner === owner) owner.opened()
    // Taken away while it was being opened.
    else queueMicrotask(() => { deliver([['store-failed', store!, MOVED]]) })
    return store
  }

  async #join (): Promise<StoreHandle | null> {
    const member = this.#member = new Member(this.#kind, this.#name)
    member.onlock = (held) => {
      this.#held = held
      held.onstolen = () => { if (this.#held === held) this.#held = null }
    }
    try {
      const home = await member.start()
      if (home !== null) return await home.openStorage(this.#kind, this.#name)
      member.end()
      this.#member = null
      return null
    } catch (error) {
      member.end()
      this.#member = null
      if (hasMoved(error)) return null
      throw error
    }
  }
}

/** What an owner does for the others. */
class Owner {
  readonly #id = `${realmName()}.${members++}`
  readonly #channel: BroadcastChannel
  readonly #name: string
  readonly #storage: Storage
  readonly #locks: WriteLocks
  readonly #sessions = new Map<string, RemoteSession>()
  /** Through this it talks to itself: a page that is frozen still hears a BroadcastChannel, but not a port. */
  readonly #awake = new MessageChannel()
  #waiting: string[] = []
  #isOpen = false
  #over = false
  /** Nobody works through it: what it writes needs no lock. */
  isAlone = true

  constructor (kind: StorageKind, name: string, storage: Storage, locks: WriteLocks) {
    this.#name = channelName(kind, name)
    this.#storage = storage
    this.#locks = locks
    this.#channel = new BroadcastChannel(this.#name)
    this.#channel.onmessage = ({ data }: MessageEvent<Word>) => { this.#hear(data) }
    this.#awake.port1.onmessage = ({ data }: MessageEvent<string>) => { this.#say({ say: 'here', to: data, owner: this.#id }) }
  }

  opened (): void {
    this.#isOpen = true
    this.#say({ say: 'owner', owner: this.#id })
    for (const from of this.#waiting.splice(0)) void this.#welcome(from)
  }

  end (): void {
    if (this.#over) return
    this.#over = true
    this.#channel.close()
    this.#awake.port1.close()
    for (const session of this.#sessions.values()) session.abandon()
  }

  #hear (word: Word): void {
    if (word.say === 'ask') this.#awake.port2.postMessage(word.from)
    if (word.say !== 'hello') return
    if (word.version !== VERSION) return this.#say({ say: 'stranger', to: word.from, version: VERSION })
    if (this.#isOpen) void this.#welcome(word.from)
    else if (!this.#waiting.includes(word.from)) this.#waiting.push(word.from)
  }

  async #welcome (from: string): Promise<void> {
    if (this.#sessions.has(from)) return
    this.isAlone = false
    const storage = this.#storage
    const session = new RemoteSession(channelPort(`${this.#name}/${this.#id}/${from}`), {
      open: () => storage,
      isRecorded: () => true,
      openSocket
    })
    this.#sessions.set(from, session)
    session.onend = () => {
      this.#sessions.delete(from)
      this.isAlone = this.#sessions.size === 0
    }
    // Its lock is free once it is gone.
    void navigator.locks.request(aliveName(from), () => { session.end() }).catch(() => {})
    await this.#locks.share()
    if (!this.#over) this.#say({ say: 'welcome', to: from, owner: this.#id })
  }

  #say (word: Word): void {
    if (!this.#over) this.#channel.postMessage(word)
  }
}

/** Somebody who works through an owner, and is ready to follow it. */
class Member {
  readonly #id = `${realmName()}.${members++}`
  readonly #kind: StorageKind
  readonly #name: string
  readonly #channel: BroadcastChannel
  readonly #waits = new AbortController()
  home: Home | null = null
  onlock: (held: Held) => void = () => {}
  #endAlive: () => void = () => {}
  #heard = performance.now()
  #ticked = 0
  #timer: ReturnType<typeof setInterval> | undefined
  #owner: string | null = null
  #decide: (home: Home | null) => void = () => {}
  #refuse: (error: Error) => void = () => {}
  #over = false
  #stealing = false
  #lost = false

  constructor (kind: StorageKind, name: string) {
    this.#kind = kind
    this.#name = name
    this.#channel = new BroadcastChannel(channelName(kind, name))
    this.#channel.onmessage = ({ data }: MessageEvent<Word>) => { this.#hear(data) }
  }

  /** Resolves to the owner's engine, or to null when this realm is to own the store. */
  async start (): Promise<Home | null> {
    await new Promise<void>((resolve, reject) => {
      navigator.locks.request(aliveName(this.#id), () => new Promise<void>((end) => {
        this.#endAlive = end
        resolve()
      })).catch(reject)
    })
    const decided = new Promise<Home | null>((resolve, reject) => {
      this.#decide = resolve
      this.#refuse = reject
    })
    holdLock(lockName(this.#kind, this.#name), { signal: this.#waits.signal }, (held) => { this.#gotLock(held) }).catch(this.#refuse)
    this.#hello()
    this.#timer = setInterval(() => { this.#tick() }, ASK_EVERY)
    return await decided
  }

  end (): void {
    if (this.#over) return
    this.#over = true
    clearInterval(this.#timer)
    this.#channel.close()
    this.#waits.abort()
    this.home?.leave()
    this.#endAlive()
    this.#decide(null)
  }

  #hear (word: Word): void {
    // Also of a new one, which is still opening the store.
    if ('owner' in word && (word.say === 'owner' || word.to === this.#id)) {
      this.#heard = performance.now()
      this.#ticked = 0
    }
    if (word.say === 'welcome' && word.to === this.#id && this.home === null) {
      routeCalls()
      this.#owner = word.owner
      this.home = new Home(channelPort(`${channelName(this.#kind, this.#name)}/${word.owner}/${this.#id}`))
      this.#decide(this.home)
    } else if (word.say === 'stranger' && word.to === this.#id) {
      this.#refuse(new HypertabError('STORAGE_OTHER_VERSION', `${this.#name} is open in a tab with version ${word.version} of hypertab, and this one has ${VERSION}; load that tab again`))
    } else if (word.say === 'owner' && this.home === null) {
      this.#hello()
    } else if (word.say === 'owner' && this.#owner !== null && word.owner !== this.#owner) {
      this.#lose()
    }
  }

  #hello (): void {
    this.#say({ say: 'hello', from: this.#id, version: VERSION })
  }

  #gotLock (held: Held): void {
    if (this.#over) return held.release()
    this.onlock(held)
    this.#decide(null)
    this.#lose()
  }

  /** The owner is gone. */
  #lose (): void {
    this.#lost = true
    clearInterval(this.#timer)
    this.home?.die()
  }

  // Silence counts only while this realm itself was awake.
  #tick (): void {
    const silence = performance.now() - this.#heard
    this.#ticked++
    if (silence < ASK_EVERY) return
    const patience = this.home === null ? FIRST_PATIENCE : PATIENCE
    if (silence > patience && this.#ticked > patience / ASK_EVERY / 2 && !this.#stealing) void this.#steal()
    this.#say({ say: 'ask', from: this.#id })
  }

  // Several may have lost patience: whoever comes next finds another owner there.
  async #steal (): Promise<void> {
    this.#stealing = true
    const heard = this.#heard
    const take = async () => {
      if (this.#over) return
      this.#say({ say: 'ask', from: this.#id })
      await new Promise((resolve) => { setTimeout(resolve, ASK_EVERY) })
      if (this.#over || this.#lost || this.#heard !== heard) return
      this.#waits.abort()
      await new Promise<void>((resolve) => {
        const got = (held: Held) => {
          this.#gotLock(held)
          resolve()
        }
        holdLock(lockName(this.#kind, this.#name), { steal: true }, got).catch(() => { resolve() })
      })
    }
    // Whoever is ahead may be frozen by now, too.
    await navigator.locks.request(`hypertab-steal:${this.#kind}:${this.#name}`, { signal: AbortSignal.timeout(FIRST_PATIENCE) }, take).catch(take)
    this.#stealing = false
  }

  #say (word: Word): void {
    if (!this.#over) this.#channel.postMessage(word)
  }
}

/** The Web Lock of who owns a store. */
export function lockName (kind: StorageKind, name: string): string {
  return `hypertab-lock:${kind === 'opfs' ? 'opfs:' : ''}${name}`
}

function channelName (kind: StorageKind, name: string): string {
  return `hypertab-store:${kind}:${name}`
}

function aliveName (member: string): string {
  return `hypertab-alive:${member}`
}

async function tryLock (name: string): Promise<Held | null> {
  return await new Promise((resolve, reject) => {
    holdLock(name, { ifAvailable: true }, resolve, () => { resolve(null) }).catch((cause: unknown) => {
      reject(new HypertabError('STORAGE_NOT_AVAILABLE', 'this page may store nothing, as a frame in a sandbox; use memory()', { cause }))
    })
  })
}

async function holdLock (name: string, options: LockOptions, got: (held: Held) => void, missed: () => void = () => {}): Promise<void> {
  let own: Held | null = null
  try {
    await navigator.locks.request(name, options, async (lock) => {
      if (lock === null) return missed()
      await new Promise<void>((release) => {
        own = { release, onstolen: () => {} }
        got(own)
      })
    })
  } catch (error) {
    if (own !== null) (own as Held).onstolen()
    else if ((error as Error).name !== 'AbortError') throw error
  }
}
