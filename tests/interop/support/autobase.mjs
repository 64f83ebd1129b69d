// What the tests of Autobase keep in one: a list and a bee, and writers that come and go. In Node and, bundled, in a page.

import b4a from 'b4a'

/** Options of a base whose values are `{ key }`, or say who writes: `{ add }`, `{ remove }` with a key as hex, or `{ anchor }`. */
export function baseOptions (Hyperbee) {
  return {
    open: (store) => ({
      list: store.get('list', { valueEncoding: 'json' }),
      bee: new Hyperbee(store.get('bee'), { extension: false, keyEncoding: 'utf-8', valueEncoding: 'json' })
    }),
    apply: async (nodes, view, host) => {
      const batch = view.bee.batch({ update: false })
      for (const { value } of nodes) {
        if (value.add) await host.addWriter(b4a.from(value.add, 'hex'), { indexer: value.indexer !== false })
        else if (value.remove) await host.removeWriter(b4a.from(value.remove, 'hex'))
        else if (value.anchor) await host.createAnchor()
        else {
          await view.list.append(value)
          await batch.put(value.key, value)
        }
      }
      await batch.flush()
    },
    close: (view) => view.bee.close(),
    valueEncoding: 'json',
    ackInterval: 0
  }
}

/** Everything that the view of a base tells. */
export async function viewOf (base) {
  const { list, bee } = base.view
  const entries = []
  for (let i = 0; i < list.length; i++) entries.push((await list.get(i)).key)
  const keys = []
  for await (const { key } of bee.createReadStream()) keys.push(key)
  return { entries, keys, hash: b4a.toString(await list.treeHash(), 'hex'), signed: list.signedLength }
}
