// What a drive or a table is doing, in words.

import type { RelayState } from './network.ts'
import type { Problem } from './problem.ts'
import { lostRelay } from './status.ts'
import type { Status } from './status.ts'
import { count, counted } from './words.ts'

export interface WorkFacts {
  readonly kind: 'drive' | 'table'
  readonly isOpen: boolean
  readonly problem: Problem | null
  readonly isOwn: boolean
  readonly isBehind: boolean
  readonly isOnline: boolean
  readonly relay: RelayState
  readonly hasSearched: boolean
  readonly peers: number
  readonly version: number
}

/** Says what a drive or a table is doing. */
export function workStatus (facts: WorkFacts): Status {
  const { kind, problem, isOpen, isOwn, isBehind, isOnline, relay, hasSearched, peers, version } = facts
  if (problem) {
    const actions = problem.state === 'wrong-kind' ? ['as-log' as const] : problem.canRetry ? ['retry' as const] : []
    return { state: problem.state, tone: 'bad', title: problem.title, detail: problem.detail, actions }
  }
  if (!isOpen) return { state: 'opening', tone: 'busy', title: `Opening the ${kind}`, detail: 'Reading what this browser holds of it.', actions: [] }
  const stored = version > 0
    ? `Version ${count(version)} is known here; what was fetched of it can be read.`
    : isOwn && !isBehind ? 'It is empty so far.' : `Nothing of this ${kind} is on this device yet.`
  if (peers === 0 && !isOnline) return { state: 'offline', tone: 'warn', title: 'Offline', detail: `There is no network. ${stored}`, actions: [] }
  if (peers === 0) {
    switch (relay.state) {
      case 'unset':
      case 'wrong':
        return { state: 'relay-wrong', tone: 'bad', title: 'No usable relay', detail: `${relay.fault} ${stored}`, actions: ['settings'] }
      case 'off':
        return { state: 'relay-off', tone: 'warn', title: 'The relay is switched off', detail: stored, actions: ['retry'] }
      case 'lost':
        return { state: relay.wasOpen ? 'relay-gone' : 'relay-unreachable', ...lostRelay(relay.address, relay.wasOpen, relay.retryIn, stored) }
      case 'connecting':
        return { state: 'connecting', tone: 'busy', title: 'Connecting to the relay', detail: `At ${relay.address}. ${stored}`, actions: [] }
    }
  }
  const from = counted(peers, 'peer')
  if (isBehind) {
    return { state: 'behind', tone: 'warn', title: 'Catching up', detail: `Versions written elsewhere are still to come. Nothing can be written here before that, or the ${kind} would have two histories.`, actions: [] }
  }
  if (isOwn && peers === 0 && !hasSearched) {
    return { state: 'announcing', tone: 'busy', title: 'Making it known', detail: `Telling the DHT that this tab has the ${kind}.`, actions: [] }
  }
  if (isOwn) {
    const words = peers === 0 ? 'Give someone the link, and keep this tab open while they read.' : 'They have it from this tab.'
    return { state: peers === 0 ? 'announced' : 'serving', tone: 'good', title: peers === 0 ? 'Open to readers' : `${from} connected`, detail: `Signed and stored here. ${words}`, actions: [] }
  }
  if (peers === 0) {
    if (!hasSearched) return { state: 'searching', tone: 'busy', title: 'Looking for peers', detail: `Asking the DHT who holds this ${kind}.`, actions: [] }
    const detail = version > 0 ? `Nobody who holds this ${kind} is online now. ${stored}` : 'Nobody who holds it is online now. Check that the key is right; the search goes on by itself.'
    return { state: 'no-peers', tone: 'warn', title: 'No peers found yet', detail, actions: [] }
  }
  if (version === 0) return { state: 'waiting', tone: 'busy', title: `Connected to ${from}`, detail: `The ${kind} is empty so far, or its length is still being proved.`, actions: [] }
  return { state: 'live', tone: 'good', title: `Live from ${from}`, detail: 'Only what you look at is fetched. Changes appear by themselves.', actions: [] }
}
