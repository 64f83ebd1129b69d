// What a log is doing, in words: a function of what is known and nothing else.

import type { Problem } from './problem.ts'
import type { RelayState } from './network.ts'
import { count, counted } from './words.ts'

export type Tone = 'good' | 'busy' | 'warn' | 'bad'

/** What the person can do about it from here. */
export type Action = 'retry' | 'settings' | 'home' | 'as-log'

export interface Status {
  /** Stable name of the state, for tests and styles. */
  readonly state: string
  readonly tone: Tone
  readonly title: string
  readonly detail: string
  /** What changes every second and is not read out. */
  readonly countdown?: string
  readonly actions: readonly Action[]
}

export interface Facts {
  readonly isOpen: boolean
  readonly problem: Problem | null
  readonly isOwn: boolean
  readonly isOnline: boolean
  readonly relay: RelayState
  /** Whether the first search for peers has ended. */
  readonly hasSearched: boolean
  readonly peers: number
  readonly length: number
  readonly held: number
  /** Whether nothing arrives any more after forged data was refused. */
  readonly isStalled: boolean
}

/** Says what a log is doing. */
export function statusOf (facts: Facts): Status {
  const { problem, isOpen, isOnline, relay, peers } = facts
  if (problem) {
    return { state: problem.state, tone: 'bad', title: problem.title, detail: problem.detail, actions: problem.canRetry ? ['retry'] : ['home'] }
  }
  if (!isOpen) return { state: 'opening', tone: 'busy', title: 'Opening the log', detail: 'Reading what this browser holds of it.', actions: [] }
  if (peers === 0 && !isOnline) {
    return { state: 'offline', tone: 'warn', title: 'Offline', detail: `There is no network. ${stored(facts)}`, actions: [] }
  }
  if (peers === 0) {
    switch (relay.state) {
      case 'unset':
      case 'wrong':
        return { state: 'relay-wrong', tone: 'bad', title: 'No usable relay', detail: `${relay.fault} ${stored(facts)}`, actions: ['settings'] }
      case 'off':
        return { state: 'relay-off', tone: 'warn', title: 'The relay is switched off', detail: stored(facts), actions: ['retry'] }
      case 'lost':
        return { state: relay.wasOpen ? 'relay-gone' : 'relay-unreachable', ...lostRelay(relay.address, relay.wasOpen, relay.retryIn, stored(facts)) }
      case 'connecting':
        return { state: 'connecting', tone: 'busy', title: 'Connecting to the relay', detail: `At ${relay.address}. ${stored(facts)}`, actions: [] }
    }
  }
  return facts.isOwn ? ownStatus(facts) : readStatus(facts)
}

/** Says in a few words what the relay is doing. */
export function relayWords (relay: RelayState, isOnline: boolean): { tone: Tone, words: string } {
  if (!isOnline && relay.state !== 'open') return { tone: 'warn', words: 'Offline' }
  switch (relay.state) {
    case 'unset': return { tone: 'bad', words: 'No relay set' }
    case 'wrong': return { tone: 'bad', words: 'Wrong relay address' }
    case 'off': return { tone: 'warn', words: 'Relay switched off' }
    case 'connecting': return { tone: 'busy', words: `Connecting to ${host(relay.address)}` }
    case 'lost': return { tone: 'bad', words: relay.wasOpen ? 'Relay gone, trying again' : 'Relay does not answer' }
    case 'open': return { tone: 'good', words: `Relay ${host(relay.address)}` }
  }
}

/** Returns the part of a relay's address that people know it by. */
export function host (address: string): string {
  try {
    return new URL(address).host
  } catch {
    return address
  }
}

function readStatus ({ peers, length, held, hasSearched, isStalled }: Facts): Status {
  if (peers === 0) {
    if (!hasSearched) return { state: 'searching', tone: 'busy', title: 'Looking for peers', detail: 'Asking the DHT who holds this log.', actions: [] }
    const detail = length > 0
      ? `Nobody who holds this log is online now. ${counted(held, 'block')} on this device can be read; the search goes on.`
      : 'Nobody who holds this log is online now. Check that the key is right; the search goes on by itself.'
    return { state: 'no-peers', tone: 'warn', title: 'No peers found yet', detail, actions: [] }
  }
  const from = counted(peers, 'peer')
  if (length === 0) return { state: 'waiting', tone: 'busy', title: `Connected to ${from}`, detail: 'The log is empty so far, or its length is still being proved.', actions: [] }
  if (held < length && isStalled) {
    const detail = `${count(held)} of ${counted(length, 'block')} verified and stored. What is missing came only forged; it is fetched from the next peer that has it.`
    return { state: 'stalled', tone: 'warn', title: 'Waiting for an honest peer', detail, actions: [] }
  }
  if (held < length) {
    return { state: 'downloading', tone: 'busy', title: `Downloading from ${from}`, detail: `${count(held)} of ${counted(length, 'block')} verified and stored.`, actions: [] }
  }
  return { state: 'complete', tone: 'good', title: 'Complete', detail: `${allBlocks(length)} verified and stored. New blocks arrive by themselves.`, actions: [] }
}

function ownStatus ({ peers, length }: Facts): Status {
  const detail = length === 0 ? 'It is empty. Append a first line below.' : `${allBlocks(length)} signed and stored here.`
  if (peers === 0) {
    return { state: 'announced', tone: 'good', title: 'Open to readers', detail: `${detail} Give someone the key, and keep this tab open while they read.`, actions: [] }
  }
  return { state: 'serving', tone: 'good', title: `${counted(peers, 'peer')} connected`, detail, actions: [] }
}

/** Says that the relay does not answer, or not any more. */
export function lostRelay (address: string, wasOpen: boolean, retryIn: number | null, storedWords: string): Omit<Status, 'state'> {
  return {
    tone: 'bad',
    title: wasOpen ? 'The relay is gone' : 'The relay does not answer',
    detail: `${wasOpen ? `The link to ${host(address)} broke; it is tried again by itself.` : `Nothing answers at ${address}. Check the address; it is tried again by itself.`} ${storedWords}`,
    countdown: retryIn === null ? '' : retryIn === 0 ? 'trying now' : `next try in ${retryIn} s`,
    actions: ['retry', 'settings']
  }
}

function stored ({ length, held }: Facts): string {
  if (held === 0) return 'Nothing of this log is on this device yet.'
  return held >= length ? `${allBlocks(length)} on this device and can be read.` : `${count(held)} of ${counted(length, 'block')} are on this device and can be read.`
}

function allBlocks (length: number): string {
  return length === 1 ? 'Its one block is' : `All ${counted(length, 'block')} are`
}
