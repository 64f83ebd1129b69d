// Cargo, asked for the files it produced instead of guessing where they are.

import { run, Failure } from './run.mjs'

/**
 * Runs `cargo build` and returns the paths of what it built, by kind.
 *
 * @param {string[]} args everything after `cargo build`
 * @returns {Promise<{ executables: Map<string, string>, wasm: string[] }>} executables by target name
 */
export async function cargoBuild (args, env = {}) {
  const stdout = await run('cargo', ['build', '--quiet', '--locked', '--message-format=json-render-diagnostics', ...args], {
    capture: true,
    env,
    failure: 'cargo could not build the Rust part; the compiler says why above'
  })
  const executables = new Map()
  const wasm = []
  for (const line of stdout.split('\n')) {
    if (!line.startsWith('{')) continue
    const message = JSON.parse(line)
    if (message.reason !== 'compiler-artifact') continue
    if (message.executable) executables.set(message.target.name, message.executable)
    wasm.push(...message.filenames.filter((file) => file.endsWith('.wasm')))
  }
  return { executables, wasm }
}

/** Builds one program of the workspace and returns its path. */
export async function cargoBuildProgram (name, args = []) {
  const { executables } = await cargoBuild(['-p', name, '--bin', name, ...args])
  const path = executables.get(name)
  if (!path) throw new Failure(`cargo built ${name} without saying where it put the program`)
  return path
}
