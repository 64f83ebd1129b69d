// Drives and tables on the demo page, as a person uses them.

import Corestore from 'corestore'
import Hyperdrive from 'hyperdrive'

import { defer } from '../../interop/support/cleanup.mjs'
import { temporaryFolder } from '../../interop/support/folder.mjs'
import { createSwarm } from '../../interop/support/testnet.mjs'
import { PATIENCE_MS } from './demo.mjs'

/** Pastes a key or link into the first view of drives or of tables. */
export async function openWork (page, kind, text) {
  await page.getByTestId(`tab-${kind}`).click()
  await page.getByTestId(`${kind}-key-input`).fill(text)
  await page.getByTestId(`open-${kind}`).click()
}

/** Makes a drive or table and returns its key. */
export async function created (page, kind, name) {
  await page.getByTestId(`tab-${kind}`).click()
  await page.getByTestId(`${kind}-name-input`).fill(name)
  await page.getByTestId(`create-${kind}`).click()
  await page.getByTestId(`${kind}-title`).getByText(name, { exact: true }).waitFor()
  return await page.getByTestId(`${kind}-key`).textContent()
}

/** Waits until the drive or table that is shown is in one of these states. */
export async function waitForWork (page, kind, ...states) {
  const selector = states.map((state) => `[data-testid=${kind}-status][data-state=${state}]`).join(', ')
  try {
    await page.locator(selector).waitFor({ timeout: PATIENCE_MS })
  } catch (error) {
    const words = await page.getByTestId(`${kind}-status`).textContent({ timeout: 1000 }).catch(() => '?')
    throw new Error(`the ${kind} is not ${states.join(' or ')}: ${words}\n${error.message}`)
  }
}

/** Lets a bee or drive of upstream's look for news. Without a peer it answers at once: a loop of that alone would let nothing else happen. */
export async function updated (work) {
  await work.update({ wait: true })
  await new Promise((resolve) => { setTimeout(resolve, 50) })
}

/** Starts an upstream drive in a swarm: a new one, or one to read. */
export async function startDrive (t, bootstrap, key = null) {
  const store = new Corestore(temporaryFolder(t))
  defer(t, () => store.close())
  const drive = new Hyperdrive(store.session(), key)
  await drive.ready()
  const swarm = createSwarm(t, { bootstrap })
  swarm.on('connection', (connection) => {
    connection.on('error', () => {})
    store.replicate(connection)
  })
  const done = drive.findingPeers()
  await swarm.join(drive.discoveryKey).flushed()
  swarm.flush().then(done, done)
  if (key) while (drive.version < 2) await updated(drive)
  return { drive, swarm }
}
