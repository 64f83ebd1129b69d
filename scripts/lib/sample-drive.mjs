// The sample drive: a small site. Its pictures, its sound and its film are computed here.

import { deflateSync } from 'node:zlib'

import Hyperdrive from 'hyperdrive'

import { makeFilm } from './film.mjs'

const README = `# A drive from the sample peer

This folder lives in two Hypercores: one with the names, one with the bytes.
The tab has fetched the names, and of the bytes only those that you look at.

- pictures/   drawn by a formula when the peer was started
- sounds/     a chord, computed sample by sample
- films/      a log that grows, drawn frame by frame; do with it what you like (CC0)
- notes/      this file was changed twice: look at its versions
`

const page = (title, body) => `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title>
<link rel="stylesheet" href="/style.css">
<h1>${title}</h1>
${body}
</html>
`

const SITE = {
  '/index.html': page('A site in a drive', `<p>This page, its style and its pictures come from the drive of the sample peer. No web server has them.</p>
<p class="pictures"><img src="pictures/waves.png" alt="Waves"> <img src="pictures/sunset.png" alt="A sunset"></p>
<p><video src="films/growing-log.webm" controls preload="metadata" width="640" height="360"></video></p>
<p><a href="about/">How it comes here</a></p>`),
  '/about/index.html': page('How it comes here', `<p>The tab fetched the drive’s files from a peer and checked every byte; a service worker serves them to this frame. What was seen once
is there without a network, too. When the author publishes, the page is there anew.</p>
<p>Pages of a drive get nothing of the page around them, and ask nobody else for anything.</p>
<p><a href="..">Back</a></p>`),
  '/style.css': `body { max-width: 42em; margin: 2.5em auto; padding: 0 1.2em; font: 1.0625rem/1.6 system-ui, sans-serif; color: #1a2a26; background: #f4f8f6; }
h1 { line-height: 1.2; }
a { color: #0b6b57; }
.pictures img, video { max-width: 100%; height: auto; border-radius: 10px; }
`
}

/** Makes the sample drive in a store. */
export async function makeDrive (store) {
  const drive = new Hyperdrive(store)
  await drive.ready()
  await drive.put('/notes/versions.txt', Buffer.from('The first version of this note.\n'))
  await drive.put('/notes/versions.txt', Buffer.from('The first version of this note.\nA second line came later.\n'))
  await drive.put('/README.md', Buffer.from(README))
  for (const [path, text] of Object.entries(SITE)) await drive.put(path, Buffer.from(text))
  for (const [name, paint] of Object.entries(PICTURES)) await drive.put(`/pictures/${name}.png`, png(480, 320, paint))
  await drive.put('/pictures/rings.svg', Buffer.from(rings()))
  await putInBlocks(drive, '/films/growing-log.webm', await makeFilm())
  await drive.put('/sounds/chord.wav', wav(3, [220, 277.18, 329.63, 440]))
  await drive.put('/notes/versions.txt', Buffer.from('The first version of this note.\nA second line came later.\nThis is the third: the older ones are still there.\n'))
  return drive
}

/** Stores a file in pieces, so that of a large one no more travels than is looked at. */
export async function putInBlocks (drive, path, bytes) {
  const file = drive.createWriteStream(path)
  const done = new Promise((resolve, reject) => { file.on('close', resolve).on('error', reject) })
  for (let at = 0; at < bytes.length; at += BLOCK) file.write(bytes.subarray(at, at + BLOCK))
  file.end()
  await done
}

const BLOCK = 65_536

/** A colour for each point; x and y from 0 to 1. */
const PICTURES = {
  waves: (x, y) => {
    const wave = Math.sin(x * 14 + Math.sin(y * 9) * 2) * 0.5 + Math.sin(y * 21 - x * 5) * 0.5
    return [20 + 60 * (1 - y), 110 + 70 * wave + 40 * y, 130 + 60 * y + 30 * wave]
  },
  sunset: (x, y) => {
    const sun = Math.hypot((x - 0.62) * 1.5, y - 0.55) < 0.14
    const hill = y > 0.72 + 0.08 * Math.sin(x * 7) + 0.03 * Math.sin(x * 23)
    return hill ? [32, 38 + 20 * x, 60] : sun ? [255, 226, 150] : [250 - 60 * (1 - y), 120 + 90 * y, 110 + 90 * (1 - y)]
  },
  fractal: (x, y) => {
    let [a, b, n] = [0, 0, 0]
    for (; n < 80 && a * a + b * b < 4; n++) [a, b] = [a * a - b * b + x * 3.2 - 2.3, 2 * a * b + y * 2.2 - 1.1]
    return n === 80 ? [16, 20, 28] : [40 + n * 6, 60 + n * 9, 120 + n * 4]
  }
}

function rings () {
  const circles = Array.from({ length: 9 }, (_, k) => `<circle cx="200" cy="150" r="${130 - k * 14}" fill="hsl(${160 + k * 14} 55% ${30 + k * 6}%)"/>`)
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 400 300">${circles.join('')}</svg>\n`
}

function png (width, height, paint) {
  const rows = Buffer.alloc((width * 3 + 1) * height)
  for (let y = 0, at = 0; y < height; y++) {
    rows[at++] = 0
    for (let x = 0; x < width; x++) {
      for (const value of paint(x / width, y / height)) rows[at++] = Math.max(0, Math.min(255, value))
    }
  }
  const head = Buffer.alloc(13)
  head.writeUInt32BE(width, 0)
  head.writeUInt32BE(height, 4)
  head.set([8, 2, 0, 0, 0], 8)
  return Buffer.concat([Buffer.from('89504e470d0a1a0a', 'hex'), chunk('IHDR', head), chunk('IDAT', deflateSync(rows)), chunk('IEND', Buffer.alloc(0))])
}

function chunk (name, data) {
  const body = Buffer.concat([Buffer.from(name, 'latin1'), data])
  const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)]
  length.writeUInt32BE(data.length)
  sum.writeUInt32BE(crc32(body))
  return Buffer.concat([length, body, sum])
}

// Of each chunk of a PNG; zlib.crc32 is younger than the oldest Node that runs this.
function crc32 (bytes) {
  let sum = ~0
  for (const byte of bytes) {
    sum ^= byte
    for (let bit = 0; bit < 8; bit++) sum = (sum >>> 1) ^ (0xedb88320 & -(sum & 1))
  }
  return ~sum >>> 0
}

function wav (seconds, tones) {
  const rate = 22_050
  const samples = Buffer.alloc(seconds * rate * 2)
  for (let index = 0; index < seconds * rate; index++) {
    const time = index / rate
    const loudness = Math.min(1, time * 8) * Math.max(0, 1 - time / seconds) * 0.2
    samples.writeInt16LE(Math.round(tones.reduce((sum, tone) => sum + Math.sin(2 * Math.PI * tone * time), 0) * loudness * 32_000), index * 2)
  }
  const head = Buffer.alloc(44)
  head.write('RIFF', 0)
  head.writeUInt32LE(36 + samples.length, 4)
  head.write('WAVEfmt ', 8)
  head.writeUInt32LE(16, 16)
  head.writeUInt16LE(1, 20)
  head.writeUInt16LE(1, 22)
  head.writeUInt32LE(rate, 24)
  head.writeUInt32LE(rate * 2, 28)
  head.writeUInt16LE(2, 32)
  head.writeUInt16LE(16, 34)
  head.write('data', 36)
  head.writeUInt32LE(samples.length, 40)
  return Buffer.concat([head, samples])
}
