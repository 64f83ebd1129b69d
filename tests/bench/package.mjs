// Times the built npm package in Node: node package.mjs [folder of the package]
//
// Prints one line a figure: name, value, unit, with tabs between.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

import WebSocket from 'ws'

import { serveCore } from './serve.mjs'
import { measure } from './workloads.mjs'

const folder = process.argv[2] ?? join(import.meta.dirname, '..', '..', 'wasm')
const load = (name) => import(pathToFileURL(join(folder, 'dist', 'node', `${name}.js`)).href)
const [{ Corestore }, { Hyperbee }, { Hypercore }, { Hyperdrive }] = await Promise.all(['corestore', 'hyperbee', 'hypercore', 'hyperdrive'].map(load))
const root = mkdtempSync(join(tmpdir(), 'hypertab-bench-'))
const server = await serveCore(join(root, 'upstream'))
let folders = 0
const { remote, small } = server
const place = () => join(root, String(folders++))
const figures = await measure({ Corestore, Hyperbee, Hypercore, Hyperdrive, place, remote, small, WebSocket })
for (const [name, value, unit] of figures) console.log(`${name}\t${value.toPrecision(5)}\t${unit}`)
rmSync(root, { recursive: true, force: true })
process.exit(0)
