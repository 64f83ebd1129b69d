// What a room is doing, in words.

import type { RelayState } from '../network.ts'
import type { Problem } from '../problem.ts'
import { lostRelay } from '../status.ts'
import type { Status } from '../status.ts'
import { counted } from '../words.ts'

export interface RoomFacts {
  readonly isOpen: boolean
  readonly problem: Problem | null
  readonly isOnline: boolean
  readonly relay: RelayState
  readonly hasSearched: boolean
  /** Members with whom a connection is open. */
  readonly here: number
  readonly isBehind: boolean
  readonly entries: number
}

/** Says what a room is doing. */
export function roomStatus ({ isOpen, problem, isOnline, relay, hasSearched, here, isBehind, entries }: RoomFacts): Status {
  if (problem) return { state: problem.state, tone: 'bad', title: problem.title, detail: problem.detail, actions: problem.canRetry ? ['retry'] : [] }
  if (!isOpen) return { state: 'opening', tone: 'busy', title: 'Opening the room', detail: 'Reading what this browser holds of it.', actions: [] }
  const stored = `${entries === 0 ? 'Write all the same' : 'Everything here can be read, and written on'}; the others get it when you meet.`
  if (here === 0 && !isOnline) return { state: 'offline', tone: 'warn', title: 'Offline', detail: `There is no network. ${stored}`, actions: [] }
  if (here === 0) {
    switch (relay.state) {
      case 'unset':
      case 'wrong': return { state: 'relay-wrong', tone: 'bad', title: 'No usable relay', detail: `${relay.fault} ${stored}`, actions: ['settings'] }
      case 'off': return { state: 'relay-off', tone: 'warn', title: 'The relay is switched off', detail: stored, actions: ['retry'] }
      case 'lost': return { state: relay.wasOpen ? 'relay-gone' : 'relay-unreachable', ...lostRelay(relay.address, relay.wasOpen, relay.retryIn, stored) }
      case 'connecting': return { state: 'connecting', tone: 'busy', title: 'Connecting to the relay', detail: `At ${relay.address}. ${stored}`, actions: [] }
    }
    if (!hasSearched) return { state: 'searching', tone: 'busy', title: 'Looking for the others', detail: 'Asking the DHT who is in this room.', actions: [] }
    return { state: 'alone', tone: 'warn', title: 'Nobody else is here', detail: `Give somebody the link. ${stored}`, actions: [] }
  }
  if (isBehind) return { state: 'catching-up', tone: 'busy', title: 'Catching up', detail: 'Fetching what was written while you were away.', actions: [] }
  return { state: 'live', tone: 'good', title: `${counted(here, 'other')} here`, detail: 'What you write is signed by you, encrypted for the room, and theirs at once.', actions: [] }
}
