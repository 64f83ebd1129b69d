// What suites need of `node:assert/strict`, in a page.

import { isEqual } from './is-equal.mjs'

export const assert = {
  fail (message) { throw message instanceof Error ? message : new Error(message ?? 'failed') },
  ok (value, message) { if (!value) assert.fail(message ?? `${show(value)} is not true`) },
  equal (found, expected, message) { if (!Object.is(found, expected)) assert.fail(`${message ?? 'not the same'}: ${show(found)} instead of ${show(expected)}`) },
  notEqual (found, other, message) { if (Object.is(found, other)) assert.fail(`${message ?? 'the same'}: ${show(found)}`) },
  deepEqual (found, expected, message) { if (!isEqual(found, expected)) assert.fail(`${message ?? 'not equal'}: ${show(found)} instead of ${show(expected)}`) },
  throws (body, expected, message) {
    try {
      body()
    } catch (error) {
      if (expected instanceof RegExp) return assert.ok(expected.test(String(error)), message ?? `${error} does not match ${expected}`)
      if (typeof expected === 'function') return assert.ok(expected.prototype !== undefined && error instanceof expected ? true : expected(error), message ?? `${error} is another error`)
      for (const [name, value] of Object.entries(expected ?? {})) assert.deepEqual(error[name], value, message)
      return
    }
    assert.fail(message ?? 'nothing was thrown')
  },
  doesNotThrow (body) { body() }
}

function show (value) {
  try {
    return JSON.stringify(value) ?? String(value)
  } catch {
    return String(value)
  }
}
