// The one engine of this module instance: loads it, calls it, and hands its events to whom they concern.
//
// An export is never entered from inside another, and user code never runs inside one: calls only schedule a drain,
// and the drain runs handlers after every event was fetched.

import { exports as local, type Engine, type EngineEvent, type Failure, type RequestHandle, type StoreHandle } from './binding.js'
import { fromFailure, HypercoreError, HypertabError } from './errors.js'
import { RECORDS } from './remote/messages.js'
import { RECORDED } from './remote/table.js'
import type { LogSize } from './hypercore/state.js'
import { loadEngine, nextTurn, unrefTimer } from './platform.js'

/** Takes the events of one core, link, relay or server. */
export type EventHandler = (kind: string, rest: unknown[]) => void

/** What events belong to, and how its kind begins. */
type Domain = 'core' | 'link' | 'relay' | 'server' | 'store' | 'query' | 'question'

const DOMAINS: Record<string, Domain> = {
  append: 'core',
  truncate: 'core',
  growing: 'core',
  manifest: 'core',
  'remote-contiguous-length': 'core',
  download: 'core',
  upload: 'core',
  'peer-add': 'core',
  'peer-remove': 'core',
  'verification-error': 'core',
  'invalid-request': 'core',
  conflict: 'core',
  repair: 'core',
  extension: 'core',
  'core-closed': 'core',
  transmit: 'link',
  'link-close': 'link',
  'link-opened': 'link',
  'link-message': 'link',
  'link-drain': 'link',
  'link-ended': 'link',
  'link-finish': 'link',
  'link-closed': 'link',
  'direct-transmit': 'link',
  path: 'link',
  'discovery-key': 'link',
  'remote-channel': 'link',
  'channel-opened': 'link',
  'channel-message': 'link',
  'channel-closed': 'link',
  'relay-opened': 'relay',
  'relay-round-trip': 'relay',
  'relay-interrupted': 'relay',
  'relay-resumed': 'relay',
  'relay-closed': 'relay',
  listening: 'server',
  connection: 'server',
  'server-closed': 'server',
  'server-sign': 'server',
  'store-failed': 'store',
  'query-result': 'query',
  'query-closest': 'query',
  'query-sign': 'query',
  'question-reply': 'question',
  'question-closest': 'question',
  'question-written': 'question',
  'question-failed': 'question'
}

const handlers: Record<Domain, Map<number, EventHandler[]>> = {
  core: new Map(),
  link: new Map(),
  relay: new Map(),
  server: new Map(),
  store: new Map(),
  query: new Map(),
  question: new Map()
}

/** The id of a request that the engine does not know of yet; its own begin at 1. */
const WAITING = 0

interface Pending {
  resolve: (value: unknown) => void
  /** The engine could not, or is gone. */
  fail: (failure: Failure) => void
  reject: (error: Error) => void
}

/** Whom a request is about. */
export interface Subject {
  /** For errors. */
  readonly discoveryKey: Uint8Array | null
  /** Resolves when its store is open again; null while it is open. */
  readonly resuming?: Promise<void> | null
  /** Whether it is being opened elsewhere: what fails meanwhile is asked again there. */
  readonly isMoving?: boolean
  /** Whether its writes are recorded where their answer can get lost. */
  readonly isRecorded?: boolean
  /** Whether that can be here, too. */
  readonly isUncertain?: boolean
  /** What the engine calls it. */
  readonly handle?: number
  /** What its log came to with the last event. */
  readonly latest?: LogSize | null
}

const pending = new Map<RequestHandle, Pending>()

/** The engine in this realm, or one that knows of engines elsewhere. */
let engine: Engine = local

/** This realm, in the names of what it does. */
let realm: string | null = null
let operations = 0

/** The request whose command is being given. */
let asking: { operation (): string } | null = null

let loading: Promise<void> | null = null
let started = false
let failure: Error | null = null
let draining = false
const settled = Promise.resolve()
let timer: ReturnType<typeof setTimeout> | undefined

/**
 * Resolves when the engine is loaded; every class waits for it on its own.
 *
 * @param source where `hypertab_bg.wasm` is, when it is not beside this module: an address, bytes or a compiled module
 */
export function ready (source?: unknown): Promise<void> {
  if (loading === null) {
    const loads = started ? null : tryLoad(source)
    loading = loads === null ? Promise.resolve() : loads.then(begin)
    loading.catch(() => { loading = null })
  }
  return loading
}

/** Whether the engine can be called already. */
export function isReady (): boolean {
  return started
}

/**
 * Calls the engine, and schedules whatever follows.
 *
 * @throws when it is not loaded, or has failed
 */
export function call<T> (command: (engine: Engine) => T): T {
  ensureStarted()
  try {
    return command(engine)
  } catch (error) {
    throw asFatal(error)
  } finally {
    wake()
  }
}

/** Asks the engine for something that changes nothing. */
export function look<T> (question: (engine: Engine) => T): T {
  ensureStarted()
  return question(engine)
}

let revisions: Float64Array = new Float64Array(0)

/** What an answer of the engine in this realm stays true for: another number once something has entered it that may change it. */
export function revision (): number {
  ensureStarted()
  if (revisions.length === 0) revisions = local.revision()
  return revisions[0]!
}

/** @internal From now on, calls go through this one; it has what the engine in this realm has. */
export function useEngine (make: (engine: Engine) => Engine): void {
  engine = make(engine)
}

/** @internal Takes the answer to a request that is nobody's promise. */
export function expect (id: RequestHandle, answer: (failure: Failure | null, value: unknown) => void): void {
  const fail = (failure: Failure) => { answer(failure, undefined) }
  pending.set(id, {
    resolve: (value) => { answer(null, value) },
    fail,
    reject: (error) => { fail({ code: (error as HypertabError).code ?? 'ENGINE_FAILED', message: error.message }) }
  })
}

/** @internal Hands out what happened in an engine elsewhere. */
export function deliver (events: EngineEvent[]): void {
  for (const event of events) {
    try {
      dispatch(event)
    } catch (error) {
      // As from any emitter: the other events are not to suffer for it.
      queueMicrotask(() => { throw error })
    }
  }
}

/** @internal The arguments of a write, with the name that it is to be recorded by at `at`; as they are when nobody asks again. */
export function withRecord (name: string, at: number, args: unknown[]): unknown[] {
  const operation = asking?.operation() ?? null
  if (operation === null) return args
  const copy = [...args]
  if (name === 'coreSetUserData') copy[at] ??= operation
  else copy[at] = { operation, ...args[at] as object }
  return copy
}

let recorder: { of: Engine, engine: Engine } | null = null

/** An engine whose writes are recorded, also where the store is. */
function recording (engine: Engine): Engine {
  if (recorder?.of === engine) return recorder.engine
  const recorded: Record<string, unknown> = { ...engine }
  for (const [name, at] of RECORDED) {
    const write = recorded[name] as (...args: unknown[]) => unknown
    recorded[name] = (...args: unknown[]) => write(...withRecord(name, at, args))
  }
  recorder = { of: engine, engine: recorded as unknown as Engine }
  return recorder.engine
}

/** @internal A name for the record that something was done. */
export function operationName (): string {
  return `${RECORDS}${realmName()}/${operations++}`
}

/** A name of its own for this realm. */
export function realmName (): string {
  realm ??= [...crypto.getRandomValues(new Uint32Array(3))].map((part) => part.toString(36)).join('')
  return realm
}

/** Registers who takes the events of a core, link, relay, server, store, query or question. */
export function listen (domain: Domain, id: number, handler: EventHandler): void {
  const list = handlers[domain].get(id)
  if (list) list.push(handler)
  else handlers[domain].set(id, [handler])
}

/** Takes them no longer; without a handler, nobody does. */
export function unlisten (domain: Domain, id: number, handler?: EventHandler): void {
  const left = handler ? (handlers[domain].get(id) ?? []).filter((other) => other !== handler) : []
  if (left.length > 0) handlers[domain].set(id, left)
  else handlers[domain].delete(id)
}

/** Something under way in the engine. */
export class Request<T> {
  readonly promise: Promise<T>
  /** @internal What its log had come to when it was answered. */
  latest: LogSize | null = null
  #id: RequestHandle | null = null
  #resolve!: (value: unknown) => void
  #reject!: (error: Error) => void
  #core: Subject | null
  #command: (engine: Engine) => RequestHandle
  /** What its writes are recorded by, once it was asked where the answer can get lost. */
  #operation: string | null = null

  /** Starts a command that answers with its request, at once or after something. */
  constructor (command: (engine: Engine) => RequestHandle, after: Promise<unknown> | null = null, core: Subject | null = null) {
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve as (value: unknown) => void
      this.#reject = reject
    })
    this.#command = command
    this.#core = core
    if (after === null) this.#start()
    else this.#startAfter(after)
    // Whoever waits for it sees the error; a request that was given up is nobody's.
    this.promise.catch(() => {})
  }

  /** What the engine calls it. */
  get id (): RequestHandle {
    return this.#id!
  }

  get settled (): boolean {
    return this.#id !== WAITING && !pending.has(this.id)
  }

  /** Gives it up: the promise rejects with the error now, and the engine forgets it. */
  cancel (error: Error = HypercoreError.REQUEST_CANCELLED()): void {
    if (this.#id === WAITING) {
      this.#id = null
      this.#reject(error)
      return
    }
    const waiting = pending.get(this.id)
    if (!waiting) return
    pending.delete(this.id)
    waiting.reject(error)
    if (failure === null) call((engine) => { engine.cancel(this.id) })
  }

  /** @internal What it is to be recorded by. */
  operation (): string {
    this.#operation ??= operationName()
    return this.#operation
  }

  #start (): void {
    const outer = asking
    asking = this.#core === null || this.#core.isRecorded === false ? null : this
    try {
      this.#id = call(asking !== null && this.#core!.isUncertain ? (engine) => this.#command(recording(engine)) : this.#command)
    } finally {
      asking = outer
    }
    pending.set(this.#id, this)
  }

  /** @internal */
  resolve (value: unknown): void {
    this.latest = this.#core?.latest ?? null
    this.#resolve(value)
    if (this.#operation !== null) forgetLater(this.#core!, this.#operation)
  }

  /** @internal */
  reject (error: Error): void {
    this.#reject(error)
  }

  #startAfter (after: Promise<unknown>): void {
    this.#id = WAITING
    after.then(() => { if (this.#id === WAITING) this.#start() }).catch(this.#reject)
  }

  /** @internal */
  fail (failure: Failure): void {
    const core = this.#core
    this.latest = core?.latest ?? null
    if (!core?.isMoving || !core.resuming) return this.#reject(fromFailure(failure, core?.discoveryKey ?? null))
    if (this.#operation === null) return this.#startAfter(core.resuming)
    this.#id = WAITING
    this.#askAgain(core).catch(this.#reject)
  }

  // It may have been done: then there is a record of it.
  async #askAgain (core: Subject): Promise<void> {
    while (core.resuming) await core.resuming
    if (this.#id !== WAITING) return
    const operation = this.#operation!
    const record = await new Request<Uint8Array | null>((engine) => engine.coreUserData(core.handle!, operation), null, core).promise
    if (this.#id !== WAITING) return
    if (!record) return this.#start()
    this.#id = null
    const view = new DataView(record.buffer, record.byteOffset, record.byteLength)
    const count = (offset: number) => Number(view.getBigUint64(offset, true))
    this.#resolve(record.byteLength === 16 ? { length: count(0), byteLength: count(8) } : undefined)
    forgetLater(core, operation)
  }
}

/** Stores together what is asked for in this realm until the next turn of the event loop. */
export function gatherCommits (): void {
  call(() => { local.gatherCommits() })
}

const done = new Map<Subject, string[]>()
let forgetting: ReturnType<typeof setTimeout> | undefined

/** How long a store has nothing to write before it takes time for its disk, in milliseconds. */
const QUIET = 300

/** How long records of what is known to be done may stay, in milliseconds. */
const LINGER = 50

/** @internal Deletes the record of what is known to be done. */
export function forgetLater (core: Subject, operation: string): void {
  const names = done.get(core)
  if (names) names.push(operation)
  else done.set(core, [operation])
  forgetting ??= setTimeout(forget, LINGER)
}

function forget (): void {
  forgetting = undefined
  const waiting = [...done]
  done.clear()
  for (const [core, names] of waiting) {
    if (core.resuming) {
      for (const name of names) forgetLater(core, name)
      continue
    }
    try {
      for (const name of names) expect(call((engine) => engine.coreSetUserData(core.handle!, name, null)), () => {})
    } catch {
      // It was closed: what is left is small.
    }
  }
}

/** Runs a command of the engine to its end. */
export function request<T> (command: (engine: Engine) => RequestHandle): Promise<T> {
  return new Request<T>(command).promise
}

function tryLoad (source: unknown): Promise<void> | null {
  const loads = loadEngine(source)
  if (loads === null) begin()
  return loads
}

function begin (): void {
  if (started) return
  local.start(wake, setTimer)
  started = true
}

function ensureStarted (): void {
  if (failure !== null) throw failure
  if (started) return
  ready().catch(() => {})
  if (!started) throw new HypertabError('ENGINE_NOT_LOADED', 'the engine is still loading; await ready() from hypertab first')
}

// A trap leaves the engine in a state that nothing may be built on.
function asFatal (error: unknown): unknown {
  if (error instanceof WebAssembly.RuntimeError) {
    failure ??= new HypertabError('ENGINE_FAILED', `the engine stopped: ${error.message}`, { cause: error })
    for (const [id, waiting] of pending) {
      pending.delete(id)
      waiting.reject(failure)
    }
    return failure
  }
  return error
}

function setTimer (milliseconds: number): void {
  clearTimeout(timer)
  timer = undefined
  if (milliseconds < 0) return
  timer = setTimeout(() => {
    timer = undefined
    if (failure === null) call(() => { local.handleTimeout() })
  }, milliseconds)
  unrefTimer(timer)
}

function wake (): void {
  if (draining || failure !== null) return
  draining = true
  // As soon as queueMicrotask() would, which takes browsers ten times as long.
  void settled.then(drain)
}

function drain (): void {
  draining = false
  let events: EngineEvent[]
  try {
    events = local.pollEvents()
  } catch (error) {
    asFatal(error)
    queueMicrotask(() => { throw error })
    return
  }
  deliver(events)
}

function dispatch ([kind, ...rest]: EngineEvent): void {
  if (kind === 'done') {
    settle(rest[0] as RequestHandle, rest[1] as Failure | null, rest[2])
  } else if (kind === 'commit') {
    // What else is written in this turn is written along; and timers and sockets have theirs.
    nextTurn(() => { if (failure === null) call(() => { local.writeCommits() }) })
  } else if (kind === 'restless') {
    const store = rest[0] as StoreHandle
    unrefTimer(setTimeout(() => { if (failure === null) call(() => { local.settleStore(store) }) }, QUIET))
  } else if (kind === 'firewall') {
    tell('server', rest[1] as number, kind, [rest[0], ...rest.slice(2)])
  } else {
    const domain = DOMAINS[kind]
    if (domain) tell(domain, rest[0] as number, kind, rest.slice(1))
  }
}

function tell (domain: Domain, id: number, kind: string, rest: unknown[]): void {
  for (const handler of [...handlers[domain].get(id) ?? []]) handler(kind, rest)
}

function settle (id: RequestHandle, failed: Failure | null | undefined, value: unknown): void {
  const waiting = pending.get(id)
  if (!waiting) return
  pending.delete(id)
  if (failed) waiting.fail(failed)
  else waiting.resolve(value)
}
