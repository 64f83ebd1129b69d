// The suite of `abstract-level` over our classes, for a page: one bundle, so that there is one `abstract-level` in it.

import suite from 'abstract-level/test'

import { tape } from '../../interop/support/tape.mjs'
import { Corestore } from '../../../wasm/js/index.ts'
import { BeeLevel } from '../../../wasm/js/level/bee-level.ts'
import { Hyperbee } from '../../../wasm/js/hyperbee/hyperbee.ts'
import { indexedDb } from '../../../wasm/js/storage/indexed-db.ts'
import { assert } from './page-assert.mjs'

/** Runs everything; tells each test that failed. */
export async function run () {
  const failures = []
  const names = []
  let stores = 0
  const { test, all } = tape(assert, async (name, body) => {
    names.push(name)
    try {
      await body()
    } catch (error) {
      failures.push(`${name}: ${error?.stack ?? error}`)
    }
  })
  suite({
    test,
    factory (options) {
      const store = new Corestore(indexedDb(`level-${stores++}`))
      return new BeeLevel(() => new Hyperbee(store.get({ name: 'level' })), options)
    }
  })
  await all()
  return { names, failures }
}
