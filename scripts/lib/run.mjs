// Starting programs and saying what is being done, for every script here.

import { spawn, spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

/** The folder that holds the top-level package.json. */
export const root = fileURLToPath(new URL('../../', import.meta.url))

const isWindows = process.platform === 'win32'

/** A failure that one sentence explains; no stack is printed for it. */
export class Failure extends Error {}

/** Prints one line about the step that begins. */
export function say (line) {
  process.stdout.write(`- ${line}\n`)
}

/** Runs a script's main function; a failure ends the process with code 1. */
export async function main (body) {
  try {
    await body()
  } catch (error) {
    process.stderr.write(`\nfailed: ${error instanceof Failure ? error.message : error.stack}\n`)
    process.exit(1)
  }
}

/**
 * Runs a program to its end and returns what it printed on stdout.
 *
 * @param {string} program
 * @param {string[]} args
 * @param {{ cwd?: string, env?: object, capture?: boolean, failure?: string }} [options]
 *   `capture` returns stdout instead of showing it; `failure` is the sentence for a non-zero exit.
 */
export function run (program, args, { cwd = root, env = {}, capture = false, failure } = {}) {
  const { command, argv } = resolve(program, args)
  return new Promise((resolve, reject) => {
    const child = spawn(command, argv, {
      cwd,
      env: { ...process.env, ...env },
      stdio: ['ignore', capture ? 'pipe' : 'inherit', 'inherit']
    })
    let stdout = ''
    child.stdout?.setEncoding('utf8').on('data', (text) => { stdout += text })
    child.on('error', (/** @type {NodeJS.ErrnoException} */ error) => {
      reject(new Failure(error.code === 'ENOENT' ? `${program} was not found; install it and run this again` : error.message))
    })
    child.on('close', (code, signal) => {
      if (code === 0) return resolve(stdout)
      reject(new Failure(failure ?? `${program} ${args.join(' ')} ended with ${signal ?? `code ${code}`}`))
    })
  })
}

/** Runs a program quietly; returns its stdout, or null when it is missing or failed. */
export function probe (program, args) {
  const { command, argv } = resolve(program, args)
  const result = spawnSync(command, argv, { cwd: root, encoding: 'utf8' })
  return result.status === 0 ? result.stdout : null
}

// npm is a script on Windows; everything else is a program, or a script run by this very Node.
function resolve (program, args) {
  if (program === 'node') return { command: process.execPath, argv: args }
  if (isWindows && program === 'npm') return { command: 'cmd.exe', argv: ['/d', '/s', '/c', 'npm', ...args] }
  return { command: program, argv: args }
}
