// What programs over stores get: stores, replications, notes. Nothing of Node is needed, so that the same programs run in a page.

import { replicate } from './pipes.mjs'
import { plain } from './scene.mjs'

/** Runs a program with the classes of each side, and returns what it notes. */
export async function playStores ([one, other], program, { folder, defer }) {
  const notes = []
  const undo = []
  const open = ({ Corestore }, [storage, options]) => {
    const store = new Corestore(storage ?? folder(), options)
    // Upstream's does not close when a core of it could not be opened.
    undo.push(() => store.close().catch(() => {}))
    return store
  }
  defer(async () => { for (const step of undo.reverse()) await step() })
  await program({
    ...one,
    note: (...values) => { notes.push(values.map(plain)) },
    folder,
    create: (...args) => open(one, args),
    createA: (...args) => open(one, args),
    createB: (...args) => open(other, args),
    defer: (step) => { undo.push(step) },
    replicate: (a, b, options) => replicate(undo, a, b, options)
  })
  return notes
}
