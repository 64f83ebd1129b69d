// Makes a fresh clone ready to build and test: npm run setup
//
// Nothing is fetched but from rustup, the npm registry and Debian's packages, each through its own client.

import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { delimiter, isAbsolute, join } from 'node:path'
import { pathToFileURL } from 'node:url'

import { Failure, main, probe, root, run, say } from './lib/run.mjs'

/** Checks that this Node can run the tools of the workspace. */
export function ensureNode () {
  const [major, minor] = process.versions.node.split('.').map(Number)
  if (major > 20 || (major === 20 && minor >= 19)) return
  throw new Failure(`Node 20.19 or newer is needed and this is ${process.versions.node}; get it from https://nodejs.org`)
}

/** Checks for Rust and adds the given compile targets. */
export async function ensureRust (targets = ['wasm32-unknown-unknown']) {
  if (probe('cargo', ['--version']) === null) {
    throw new Failure('Rust was not found; install it with rustup, https://rustup.rs, and run this again')
  }
  checkRustVersion()
  const missing = targets.filter((target) => !hasTarget(target))
  if (missing.length === 0) return
  if (probe('rustup', ['--version']) === null) {
    throw new Failure(`the Rust targets ${missing.join(', ')} are missing and there is no rustup to add them; install them the way Rust was installed`)
  }
  say(`adding the Rust targets ${missing.join(', ')}`)
  await run('rustup', ['target', 'add', ...missing], {
    failure: `rustup could not add ${missing.join(', ')}; check the network, then run: rustup target add ${missing.join(' ')}`
  })
}

/** Installs the locked npm packages when they are missing or older than the lock file. */
export async function ensureNpm () {
  const lock = join(root, 'package-lock.json')
  const installed = join(root, 'node_modules', '.package-lock.json')
  const stamp = join(root, 'node_modules', '.hypertab-lock')
  const digest = createHash('sha256').update(readFileSync(lock)).digest('hex')
  if (existsSync(installed)) {
    // Git touches the lock file at every change of branch, so its date alone says little.
    if (statSync(installed).mtimeMs >= statSync(lock).mtimeMs) return
    if (existsSync(stamp) && readFileSync(stamp, 'utf8') === digest) return
  }
  say('installing the npm packages of package-lock.json')
  await run('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'], {
    failure: 'npm could not install the packages of package-lock.json; check the network, then run: npm ci'
  })
  writeFileSync(stamp, digest)
}

/** Returns the path of a Chromium or Chrome, installing Debian's when there is none and that is possible. */
export async function ensureBrowser () {
  return await ensureProgram('Chromium or Chrome', 'CHROME_PATH', ['chromium', 'fonts-dejavu-core'], findBrowser)
}

/**
 * Returns the path of Chromium without windows, which takes a third less of a processor. Where there is none to be had, or where only the
 * browser is named, it is that of the browser.
 */
export async function ensureHeadlessShell () {
  const { CHROME_PATH, HEADLESS_SHELL_PATH } = process.env
  if (CHROME_PATH && !HEADLESS_SHELL_PATH) return await ensureBrowser()
  try {
    return await ensureProgram('the headless shell of Chromium', 'HEADLESS_SHELL_PATH', ['chromium-headless-shell', 'fonts-dejavu-core'], findHeadlessShell)
  } catch (error) {
    if (HEADLESS_SHELL_PATH || !(error instanceof Failure)) throw error
    return await ensureBrowser()
  }
}

/** The browsers that the package is tested in besides Chromium, and what drives them. */
const PROGRAMS = {
  Firefox: { variable: 'FIREFOX_PATH', package: 'firefox-esr', find: () => findProgram(['firefox-esr', 'firefox']) },
  // WebKit for GTK, and the small browser that comes with it.
  WebKit: { variable: 'WEBKIT_PATH', package: 'webkit2gtk-driver', find: findWebKit },
  Xvfb: { variable: 'XVFB_PATH', package: 'xvfb', find: () => findProgram(['Xvfb']) }
}

/**
 * Returns the path of another browser or of what one needs, see ensureBrowser.
 *
 * @param {keyof typeof PROGRAMS} name
 */
export async function ensureOther (name) {
  const { variable, package: debian, find } = PROGRAMS[name]
  return await ensureProgram(name, variable, [debian], find)
}

/** Everything that the browser tests start; returns the programs. */
export async function ensureBrowsers () {
  const programs = [await ensureBrowser(), await ensureHeadlessShell()]
  for (const name of /** @type {const} */ (['Firefox', 'WebKit', 'Xvfb'])) programs.push(await ensureOther(name))
  return programs
}

/** What the tests of the relay need of a machine: networks with firewalls, another clock, an authority for certificates. */
const NETWORK_PROGRAMS = {
  ip: { package: 'iproute2', find: () => findProgram(['ip', '/usr/sbin/ip']) },
  nft: { package: 'nftables', find: () => findProgram(['nft', '/usr/sbin/nft']) },
  faketime: { package: 'faketime', find: () => findProgram(['faketime']) },
  pebble: { package: 'pebble', find: () => findProgram(['pebble']) }
}

/** Installs what is missing of it where Debian has it; elsewhere the tests that need it say so and are skipped. */
export async function ensureNetworkPrograms () {
  if (!canInstallDebianPackages()) return
  for (const [name, { package: debian, find }] of Object.entries(NETWORK_PROGRAMS)) {
    await ensureProgram(name, `${name.toUpperCase()}_PATH`, [debian], find)
  }
}

/** @type {Promise<string> | undefined} */
let packageLists

async function ensureProgram (name, variable, packages, find) {
  const set = process.env[variable]
  if (set) {
    if (existsSync(set)) return set
    throw new Failure(`${variable} names ${set}, and no file is there`)
  }
  const found = find()
  if (found) return found
  if (!canInstallDebianPackages()) {
    throw new Failure(`no ${name} was found for the tests; install one, or set ${variable} to its program`)
  }
  say(`installing Debian's ${packages[0]} for the tests`)
  const env = { DEBIAN_FRONTEND: 'noninteractive' }
  const failure = `apt-get could not install ${packages[0]}; install ${name} by hand, or set ${variable} to its program`
  packageLists ??= run('apt-get', ['-qq', '-o', 'DPkg::Lock::Timeout=300', 'update'], { env, failure, capture: true })
  await packageLists
  await run('apt-get', ['-qq', '-y', '-o', 'DPkg::Lock::Timeout=300', 'install', '--no-install-recommends', ...packages], { env, failure, capture: true })
  const installed = find()
  if (!installed) throw new Failure(failure)
  return installed
}

/** Everything that `npm start` and `npm test` share. */
export async function ensureTools () {
  ensureNode()
  await ensureRust()
  await ensureNpm()
}

function checkRustVersion () {
  const wanted = /^rust-version = "([\d.]+)"/m.exec(readFileSync(join(root, 'Cargo.toml'), 'utf8'))[1]
  const found = /rustc ([\d.]+)/.exec(probe('rustc', ['--version']) ?? '')?.[1]
  const [major, minor] = wanted.split('.').map(Number)
  const [foundMajor, foundMinor] = (found ?? '0.0').split('.').map(Number)
  if (foundMajor > major || (foundMajor === major && foundMinor >= minor)) return
  throw new Failure(`Rust ${wanted} or newer is needed and ${found ?? 'none'} was found; run: rustup update stable`)
}

// The sysroot knows, also where Rust did not come from rustup.
function hasTarget (target) {
  const directory = probe('rustc', ['--print', 'target-libdir', '--target', target])
  return directory !== null && existsSync(directory.trim())
}

function findBrowser () {
  if (process.platform === 'darwin') {
    return ['Google Chrome', 'Chromium'].map((name) => `/Applications/${name}.app/Contents/MacOS/${name}`).find(existsSync)
  }
  if (process.platform === 'win32') {
    return [process.env.PROGRAMFILES, process.env['PROGRAMFILES(X86)'], process.env.LOCALAPPDATA]
      .filter(Boolean)
      .map((folder) => join(folder, 'Google', 'Chrome', 'Application', 'chrome.exe'))
      .find(existsSync)
  }
  return findProgram(['chromium', 'chromium-browser', 'google-chrome-stable', 'google-chrome'])
}

// Debian's own of the name is a script, whose end is not that of the browser.
function findHeadlessShell () {
  return findProgram(['/usr/lib/chromium/chromium-headless-shell', 'chrome-headless-shell'])
}

function findWebKit () {
  const libraries = '/usr/lib'
  if (!existsSync(libraries)) return
  return readdirSync(libraries).flatMap((machine) => ['4.1', '4.0', '6.0'].map((version) => join(libraries, machine, `webkit2gtk-${version}`, 'MiniBrowser'))).find(existsSync)
}

function findProgram (names) {
  const folders = (process.env.PATH ?? '').split(delimiter).filter(Boolean)
  return names.flatMap((name) => isAbsolute(name) ? [name] : folders.map((folder) => join(folder, name))).find(existsSync)
}

function canInstallDebianPackages () {
  return process.platform === 'linux' && existsSync('/etc/debian_version') && process.getuid() === 0
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  await main(async () => {
    await ensureTools()
    say(`browsers for the tests: ${(await ensureBrowsers()).join(', ')}`)
    say('ready')
  })
}
