// Folders that go away with a test.

import { mkdtempSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { defer } from './cleanup.mjs'

/** Makes an empty folder that goes away with the test. */
export function temporaryFolder (t) {
  const folder = mkdtempSync(join(tmpdir(), 'hypertab-'))
  defer(t, () => rm(folder, { recursive: true, force: true, maxRetries: 3 }))
  return folder
}
