// The sample film on the demo page: it plays, and is wound on, while little of it was fetched.

import assert from 'node:assert/strict'
import test from 'node:test'

import { makeFilm, SECONDS } from '../../scripts/lib/film.mjs'
import { putInBlocks } from '../../scripts/lib/sample-drive.mjs'
import { pictures, startDemo } from './support/demo.mjs'
import { openWork, startDrive, waitForWork } from './support/works.mjs'

/** So that a little of it is little. */
const TIMES = 20

test('the film of the sample drive plays, and is wound on with a few of its blocks; the same is in it each time', async (t) => {
  const { bootstrap, page, problems } = await startDemo(t)
  await page.evaluate(async () => { await navigator.serviceWorker.ready })
  await page.reload()
  const film = await makeFilm(TIMES)
  assert.ok(film.byteLength > 20e6)
  const { drive } = await startDrive(t, bootstrap)
  await putInBlocks(drive, '/film.webm', film)
  const { blockLength } = (await drive.entry('/film.webm')).value.blob
  let sent = 0
  const blobs = await drive.getBlobs()
  blobs.core.on('upload', () => { sent++ })

  await openWork(page, 'drive', drive.id)
  await waitForWork(page, 'drive', 'live')
  await page.locator('[data-name="film.webm"]').click()
  const video = page.getByTestId('preview-video')
  await video.waitFor()
  const shown = await video.evaluate(async (video, at) => {
    const happened = (name) => new Promise((resolve, reject) => {
      video.addEventListener(name, resolve, { once: true })
      video.addEventListener('error', () => reject(new Error(video.error?.message)), { once: true })
    })
    video.muted = true
    video.preload = 'metadata'
    if (video.readyState < 1) await happened('loadedmetadata')
    const { duration, videoWidth, videoHeight } = video
    video.currentTime = at
    await happened('seeked')
    if (video.readyState < 2) await happened('canplay')
    const canvas = new OffscreenCanvas(videoWidth, videoHeight).getContext('2d')
    const colours = new Set()
    // The picture comes to the page a moment after it says that it is there.
    for (const start = performance.now(); colours.size <= 50 && performance.now() - start < 10_000;) {
      canvas.drawImage(video, 0, 0)
      const { data } = canvas.getImageData(0, 0, videoWidth, videoHeight)
      colours.clear()
      for (let at = 0; at < data.length; at += 4000) colours.add(data.slice(at, at + 3).join())
      await new Promise((resolve) => { setTimeout(resolve, 20) })
    }
    return { duration, videoWidth, videoHeight, time: video.currentTime, colours: colours.size }
  }, SECONDS * TIMES * 0.7)
  assert.deepEqual({ ...shown, colours: shown.colours > 50 }, { duration: SECONDS * TIMES, videoWidth: 640, videoHeight: 360, time: SECONDS * TIMES * 0.7, colours: true })
  const looked = sent
  t.diagnostic(`${looked} of ${blockLength} blocks were sent for the start and another place`)
  assert.ok(looked <= blockLength * 0.025, `${looked} of ${blockLength} blocks were sent for the start and another place`)
  await pictures(page, 'drive-film')
  await video.evaluate(async (video) => {
    const from = video.currentTime
    await video.play()
    while (video.currentTime < from + 1) await new Promise((resolve) => setTimeout(resolve, 50))
    video.pause()
  })
  // Chromium wants 2 MiB before it plays.
  t.diagnostic(`${sent} of ${blockLength} blocks were sent when it had played`)
  assert.ok(sent < blockLength * 0.15, `${sent} of ${blockLength} blocks were sent when it had played`)
  assert.deepEqual(problems, [])
})
