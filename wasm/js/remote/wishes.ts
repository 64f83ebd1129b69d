// What several users of one core want of it: the sessions of this realm, and those of others that work through it.

import type { CoreHandle } from '../binding.js'
import { call } from '../runtime.js'

interface Wish {
  active: boolean
  findingPeers: number
}

const wishes = new Map<CoreHandle, Map<object, Wish>>()

/** Says whether one user of a core wants blocks. */
export function setActive (core: CoreHandle, user: object, active: boolean): void {
  wishOf(core, user).active = active
  const isActive = [...wishes.get(core)!.values()].some(({ active }) => active)
  call((engine) => { engine.coreSetActive(core, isActive) })
}

/** Says how many searches for peers one user of a core has under way. */
export function setFindingPeers (core: CoreHandle, user: object, count: number): void {
  wishOf(core, user).findingPeers = count
  let sum = 0
  for (const { findingPeers } of wishes.get(core)!.values()) sum += findingPeers
  call((engine) => { engine.coreSetFindingPeers(core, sum) })
}

/** One user has the core no longer. */
export function forgetWishes (core: CoreHandle, user: object): void {
  const users = wishes.get(core)
  if (!users?.delete(user)) return
  if (users.size === 0) wishes.delete(core)
}

/** As {@link forgetWishes}, where others may go on with the core. */
export function withdrawWishes (core: CoreHandle, user: object): void {
  if (wishes.get(core)?.has(user)) {
    setActive(core, user, false)
    setFindingPeers(core, user, 0)
  }
  forgetWishes(core, user)
}

function wishOf (core: CoreHandle, user: object): Wish {
  let users = wishes.get(core)
  if (!users) wishes.set(core, users = new Map())
  let wish = users.get(user)
  if (!wish) users.set(user, wish = { active: false, findingPeers: 0 })
  return wish
}
