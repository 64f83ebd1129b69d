// Undoing what a test set up, last thing first.

/**
 * What ends: a test's context, or anything else that runs `undo` at its end.
 *
 * @typedef {{ after: (undo: () => unknown) => void }} Life
 */

const stacks = new WeakMap()

/**
 * Runs `undo` when the test of `t` ends, before everything that was deferred earlier.
 *
 * node:test runs its own `after` hooks first to last, which would remove a folder before the core
 * in it has closed.
 *
 * @param {import('./cleanup.mjs').Life} t
 * @param {() => unknown} undo
 */
export function defer (t, undo) {
  if (!stacks.has(t)) {
    stacks.set(t, [])
    t.after(() => unwind(stacks.get(t)))
  }
  stacks.get(t).push(undo)
}

async function unwind (stack) {
  const errors = []
  while (stack.length > 0) {
    try {
      await stack.pop()()
    } catch (error) {
      errors.push(error)
    }
  }
  if (errors.length > 0) throw errors[0]
}
