// The sample film: a log that grows, drawn here frame by frame. Whoever wants it may have it (CC0).
//
// Its frames are WebP pictures, each of which holds one key frame of VP8; a WebM file is those frames with their times. So
// any place of the film can be shown without another one, which is what a film is for that is wound on while it comes.

import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'

import encodeWebp, { init } from '@jsquash/webp/encode.js'

const WIDTH = 640
const HEIGHT = 360
const FRAMES_PER_SECOND = 10

/** How long it is, in seconds. */
export const SECONDS = 30

/** Makes the film, as often as it is to be shown one after the other: the bytes of a WebM file. */
export async function makeFilm (times = 1) {
  await init(new WebAssembly.Module(readFileSync(createRequire(import.meta.url).resolve('@jsquash/webp/codec/enc/webp_enc_simd.wasm'))))
  const frames = []
  for (let index = 0; index < SECONDS * FRAMES_PER_SECOND; index++) {
    const picture = { data: draw(index / FRAMES_PER_SECOND), width: WIDTH, height: HEIGHT, colorSpace: /** @type {const} */ ('srgb') }
    frames.push(keyFrameOf(new Uint8Array(await encodeWebp(picture, { method: 1, quality: 62 }))))
  }
  return webm(frames, SECONDS * times)
}

// The picture.

const COLUMNS = 16

/** A picture of red, green, blue and alpha: the sky at a second of the film, and the log with its tree. */
function draw (time) {
  const pixels = new Uint8ClampedArray(WIDTH * HEIGHT * 4)
  sky(pixels, time)
  const length = time / SECONDS * COLUMNS * 2
  for (let block = 0; block < Math.min(length, COLUMNS * 2); block++) {
    const age = Math.min(1, length - block)
    const [x, y] = [leafX(block), 300 + 40 * (1 - age) * (1 - age)]
    rectangle(pixels, x - 7, y, 14, 14, [90 + 120 * (block % 2), 220, 180, age])
  }
  for (let height = 1; 2 ** height <= length; height++) {
    for (let at = 0; (at + 1) * 2 ** height <= length; at++) {
      const [left, right] = [nodeOf(height - 1, at * 2), nodeOf(height - 1, at * 2 + 1)]
      const top = nodeOf(height, at)
      const age = Math.min(1, (length - (at + 1) * 2 ** height) * 2 + 0.1)
      line(pixels, left, top, [235, 245, 240, age])
      line(pixels, right, top, [235, 245, 240, age])
      rectangle(pixels, top[0] - 4, top[1] - 4, 8, 8, [255, 214, 120, age])
    }
  }
  write(pixels, 24, 22, `${Math.floor(time / 60)}:${String(Math.floor(time % 60)).padStart(2, '0')}`, 6, [255, 255, 255, 0.9])
  return pixels
}

function sky (pixels, time) {
  for (let y = 0, at = 0; y < HEIGHT; y++) {
    const v = y / HEIGHT
    for (let x = 0; x < WIDTH; x++) {
      const u = x / WIDTH
      const light = Math.sin(u * 9 + time * 0.7 + Math.sin(v * 7 - time * 0.4) * 1.6) * Math.sin(v * 5 + time * 0.3)
      const glow = Math.max(0, light) * (1 - v)
      pixels[at++] = 14 + 50 * v + 70 * glow * Math.abs(Math.sin(time * 0.15))
      pixels[at++] = 26 + 42 * v + 190 * glow
      pixels[at++] = 48 + 46 * (1 - v) + 120 * glow
      pixels[at++] = 255
    }
  }
}

function leafX (block) {
  return (block + 0.5) / (COLUMNS * 2) * (WIDTH - 60) + 30
}

/** @returns {[number, number]} where a node of the tree stands */
function nodeOf (height, at) {
  const first = at * 2 ** height
  return [(leafX(first) + leafX(first + 2 ** height - 1)) / 2, 300 - 42 * height]
}

function blend (pixels, x, y, [red, green, blue, alpha]) {
  if (x < 0 || y < 0 || x >= WIDTH || y >= HEIGHT) return
  const at = (Math.floor(y) * WIDTH + Math.floor(x)) * 4
  pixels[at] += (red - pixels[at]) * alpha
  pixels[at + 1] += (green - pixels[at + 1]) * alpha
  pixels[at + 2] += (blue - pixels[at + 2]) * alpha
}

function rectangle (pixels, left, top, width, height, colour) {
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) blend(pixels, left + x, top + y, colour)
  }
}

function line (pixels, [x0, y0], [x1, y1], colour) {
  const steps = Math.ceil(Math.max(Math.abs(x1 - x0), Math.abs(y1 - y0)))
  for (let step = 0; step <= steps; step++) rectangle(pixels, x0 + (x1 - x0) * step / steps, y0 + (y1 - y0) * step / steps, 2, 2, colour)
}

/** Three dots wide, five high, a row each from the top. */
const GLYPHS = {
  0: '75557', 1: '26227', 2: '71747', 3: '71717', 4: '55711', 5: '74717', 6: '74757', 7: '71122', 8: '75757', 9: '75717', ':': '02020'
}

function write (pixels, left, top, text, size, colour) {
  for (const [place, letter] of [...text].entries()) {
    for (const [row, dots] of [...GLYPHS[letter]].entries()) {
      for (let column = 0; column < 3; column++) {
        if (Number(dots) & (4 >> column)) rectangle(pixels, left + (place * 4 + column) * size, top + row * size, size - 1, size - 1, colour)
      }
    }
  }
}

// The file.

/** The VP8 frame of a WebP picture: the content of the chunk of that name. */
function keyFrameOf (webp) {
  const view = new DataView(webp.buffer, webp.byteOffset, webp.byteLength)
  for (let at = 12; at + 8 <= webp.byteLength;) {
    const name = String.fromCharCode(...webp.subarray(at, at + 4))
    const length = view.getUint32(at + 4, true)
    if (name === 'VP8 ') return webp.subarray(at + 8, at + 8 + length)
    at += 8 + length + length % 2
  }
  throw new Error('A WebP picture without a VP8 frame')
}

/** WebM with the index in front, so that nobody needs the end of the file to find a place in it. */
function webm (frames, seconds) {
  const clusters = []
  for (let second = 0; second < seconds; second++) {
    const first = second % SECONDS * FRAMES_PER_SECOND
    const blocks = frames.slice(first, first + FRAMES_PER_SECOND).map((frame, index) => {
      const head = Buffer.from([0x81, 0, 0, 0x80])
      head.writeInt16BE(Math.round(index * 1000 / FRAMES_PER_SECOND), 1)
      return element(0xa3, Buffer.concat([head, frame]))
    })
    clusters.push(element(0x1f43b675, number(0xe7, second * 1000), ...blocks))
  }
  const info = element(0x1549a966, number(0x2ad7b1, 1_000_000), float(0x4489, seconds * 1000), text(0x4d80, 'hypertab'), text(0x5741, 'hypertab'), text(0x7ba9, 'A log that grows'))
  const tracks = element(0x1654ae6b, element(0xae,
    number(0xd7, 1), number(0x73c5, 1), number(0x9c, 0), number(0x83, 1), text(0x86, 'V_VP8'),
    number(0x23e383, Math.round(1e9 / FRAMES_PER_SECOND)),
    element(0xe0, number(0xb0, WIDTH), number(0xba, HEIGHT))))
  // The places in the index have one length, so that it is known before they are.
  const cues = (start) => {
    let position = start
    return element(0x1c53bb6b, ...clusters.map((cluster, second) => {
      const point = element(0xbb, number(0xb3, second * 1000), element(0xb7, number(0xf7, 1), number(0xf1, position, 4)))
      position += cluster.byteLength
      return point
    }))
  }
  const start = info.byteLength + tracks.byteLength + cues(0).byteLength
  const head = element(0x1a45dfa3, number(0x4286, 1), number(0x42f7, 1), number(0x42f2, 4), number(0x42f3, 8), text(0x4282, 'webm'), number(0x4287, 2), number(0x4285, 2))
  return Buffer.concat([head, element(0x18538067, info, tracks, cues(start), ...clusters)])
}

function element (id, ...content) {
  const body = Buffer.concat(content)
  const length = Buffer.alloc(8)
  length.writeBigUInt64BE(0x0100000000000000n | BigInt(body.byteLength))
  return Buffer.concat([bigEndian(id), length, body])
}

function number (id, value, width = 0) {
  return element(id, bigEndian(value, width))
}

function float (id, value) {
  const bytes = Buffer.alloc(8)
  bytes.writeDoubleBE(value)
  return element(id, bytes)
}

function text (id, value) {
  return element(id, Buffer.from(value))
}

function bigEndian (value, width = 0) {
  const digits = value.toString(16)
  return Buffer.from(digits.padStart(Math.max(width * 2, digits.length + digits.length % 2), '0'), 'hex')
}
