// Rooms: their first view, and what can be done with one of them from anywhere on the page.

import type { DeskContext } from './desk.ts'
import type { Entry } from './model/catalog.ts'
import { sentence } from './model/problem.ts'
import { parseRoom, roomAddress } from './model/room/room-key.ts'
import type { Room } from './model/room/room.ts'
import type { Rooms } from './model/room/rooms.ts'
import { confirm } from './view/confirm.ts'
import { toast } from './view/dom.ts'
import { ShelfView, workName } from './view/shelf.ts'
import type { WorkActions } from './view/work-head.ts'

export class RoomsDesk {
  readonly shelf: ShelfView
  readonly actions: WorkActions
  readonly #rooms: Rooms
  readonly #shown: () => Room | null

  constructor (rooms: Rooms, context: Omit<DeskContext, 'shown'>, shown: () => Room | null) {
    this.#rooms = rooms
    this.#shown = shown
    this.shelf = new ShelfView({
      kind: 'room',
      title: 'Rooms, peer to peer',
      lead: 'A room is a conversation and a list that everybody in it shares. There is no server: each one signs what they write, everybody keeps all of it, and what was written without a network arrives later.',
      openTitle: 'Join a room',
      keyLabel: 'Link, or the name of an open room',
      keyExample: 'https://… or garden club',
      keyHelp: 'A link joins the room that it is of. Everybody who types the same name meets in the same open room.',
      nameExample: 'Summer house',
      nameHelp: 'Only those to whom you give the link can find the room or read what is in it.',
      unit: 'message'
    }, rooms.catalog, () => context.storeName(), {
      open: async (text) => { location.hash = roomAddress(await parseRoom(text)) },
      create: async (name) => { location.hash = roomAddress(rooms.create(name)) },
      remove: (entry) => { void this.#remove(entry) }
    })
    this.actions = {
      retry: () => {
        const room = shown()
        if (room?.problem) void room.open()
        else context.retryRelay()
      },
      openSettings: () => context.openSettings(),
      goHome: () => { location.hash = '#/room' },
      asLog: (id) => { location.hash = `#/${id}` },
      remove: (entry) => { void this.#remove(entry) }
    }
  }

  async #remove (entry: Entry): Promise<void> {
    const name = workName('room', entry)
    if (!await confirm(`Remove ${name}?`, 'What was said in it is deleted from this browser. The others keep theirs, what you wrote among it; with the link you can join again, as somebody new.')) return
    const isShown = this.#shown()?.entry.id === entry.id
    try {
      await this.#rooms.remove(entry.id)
      toast(`${name} was removed`)
    } catch (error) {
      toast(`Not removed. ${sentence(error)}`)
    }
    if (isShown) location.hash = '#/room'
  }
}
