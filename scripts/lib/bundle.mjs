// Makes plain JavaScript modules of wasm/js: once for browsers, once for Node and its like.

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { isBuiltin } from 'node:module'
import { basename, join, relative } from 'node:path'
import { gzipSync } from 'node:zlib'

import { groupModules } from './chunks.mjs'
import { shortenNames } from './names.mjs'
import { Failure, root } from './run.mjs'

const source = join(root, 'wasm', 'js')
const dist = join(root, 'wasm', 'dist')

const { version } = JSON.parse(readFileSync(join(root, 'wasm', 'package.json'), 'utf8'))

/** What the sources know of the package. */
const define = { HYPERTAB_VERSION: JSON.stringify(version) }

/** Entry points that also answer `require`, of Node and of bundlers; types come from those without. */
const own = join(source, 'entries', 'require')

/** What programs import from inside upstream's package. */
const partsOfHypercore = [
  'errors', 'messages',
  ...[
    'audit', 'bit-interlude', 'bitfield', 'caps', 'copy-prologue', 'core', 'default-encryption', 'feature-flags', 'fully-remote-proof', 'info',
    'mark-bitfield', 'merkle-tree', 'messages', 'multisig', 'mutex', 'remote-bitfield', 'streams', 'verifier', 'wants'
  ].map((name) => `lib/${name}`)
]

/** What programs import from inside upstream's hyperbee. */
const partsOfHyperbee = ['hyperbee/lib/messages']

/** What reads as bees do: a part of theirs that few load, and a file of its own beside them. */
const besideHyperbee = ['hypertrie']

/** The entry points of the package. */
const entries = {
  index: join(source, 'index.ts'),
  storage: join(source, 'entries', 'storage.ts'),
  ...Object.fromEntries(['hypercore', 'corestore', 'hyperbee', 'hyperblobs', ...besideHyperbee, 'hyperdrive', 'mirror-drive', 'blind-peering', 'hyperswarm', 'dht', 'protomux', 'secret-stream', 'level'].map((name) => [name, join(own, `${name}.ts`)])),
  ...Object.fromEntries(partsOfHypercore.map((name) => [`hypercore/${name}`, firstOf(join(own, `${name}.ts`), join(source, 'entries', `${name}.ts`))])),
  ...Object.fromEntries(partsOfHyperbee.map((name) => [name, join(source, `${name}.ts`)]))
}

/** Entry points that only browsers have. */
const inBrowsers = Object.fromEntries(['worker', 'worker-host'].map((name) => [name, join(source, 'entries', `${name}.ts`)]))

/** Entry points that share no state with others: each is one file, with the little that it needs of them. */
const alone = Object.fromEntries(['react', 'service-worker', 'inspector'].map((name) => [name, join(source, 'entries', `${name}.ts`)]))

/** @see {levelByName} */
const levelOfBundlers = join(source, 'level', 'abstract-level.node.ts')

function firstOf (...paths) {
  return paths.find((path) => existsSync(path))
}

/** Writes wasm/dist/browser and wasm/dist/node, and returns what esbuild says about what is in them. */
export async function bundleApi () {
  // Not at the top: the packages may be installed only after this file was loaded.
  const esbuild = await import('esbuild')
  /** @type {import('esbuild').BuildOptions} */
  const common = {
    bundle: true,
    splitting: true,
    format: 'esm',
    target: 'es2022',
    chunkNames: 'chunk-[hash]',
    legalComments: 'none',
    metafile: true,
    logLevel: 'error'
  }
  /** @type {Omit<import('esbuild').BuildOptions, 'entryPoints'> & { entryPoints: Record<string, string> }} */
  const browser = {
    ...common,
    // A page may load these as they are. Whoever reads a stack has the maps, which no page loads by itself.
    sourcemap: 'linked',
    minifySyntax: true,
    minifyWhitespace: true,
    minifyIdentifiers: true,
    ...forBrowsers,
    entryPoints: { ...entries, ...inBrowsers },
    outdir: join(dist, 'browser')
  }
  let built
  try {
    const groups = await groupModules(
      esbuild, browser, [...Object.keys(entries).filter((name) => name.includes('/')), ...besideHyperbee],
      besideHyperbee.map((name) => relative('.', join(source, name, `${name}.ts`)))
    )
    built = await Promise.all([
      esbuild.build({ ...browser, plugins: [...forBrowsers.plugins, groups.plugin, sources(groups.before)] }),
      ...Object.entries(alone).map(([name, path]) => esbuild.build({
        ...browser, entryPoints: { [name]: path }, splitting: false, plugins: [...forBrowsers.plugins, sources()]
      })),
      esbuild.build({
        ...common,
        entryPoints: { ...entries, react: alone.react, 'hypercore/lib/caps': join(source, 'entries', 'lib', 'caps.node.ts'), 'abstract-level': levelOfBundlers, localdrive: join(own, 'localdrive.ts') },
        platform: 'node',
        define,
        outdir: join(dist, 'node'),
        external: ['react', '#abstract-level'],
        plugins: [engineBeside, platformOfNode, levelByName, requiresAsImports, streamsAsModules, emitterAs('events.node.ts'), sources()]
      })
    ])
  } catch (error) {
    throw new Failure(`the TypeScript API cannot be bundled: ${error.message}`)
  }
  await Promise.all(requirable().flatMap((name) => ['browser', 'node'].map(async (platform) => {
    const folder = join(dist, platform)
    if (existsSync(join(folder, `${name}.js`))) await writeFile(join(folder, `${name}.cjs`), forRequire(basename(name)))
  })))
  return built.map(({ metafile }) => metafile)
}

/**
 * Our sources, each with what is to stand before it.
 *
 * @param {(path: string) => string} before
 */
const sources = (before = () => '') => ({
  name: 'sources',
  setup (build) {
    build.onLoad({ filter: /[\\/]wasm[\\/]js[\\/].*\.ts$/ }, async ({ path }) => ({ contents: before(path) + named(await readFile(path, 'utf8')), loader: 'ts' }))
  }
})

/**
 * Has classes keep their names where everything gets shorter ones. A getter costs nothing where objects are made, and does not keep bundlers from leaving
 * out a class that nobody uses.
 */
function named (source) {
  return source.replace(/^(?:export )?(?:default )?(?:abstract )?class (\w+)\b.*\{$/gm, "$& static get name () { return '$1' }")
}

// As modules, streams bring along only what is used of them.
const streamsAsModules = {
  name: 'streams-as-modules',
  setup (build) {
    build.onLoad({ filter: /[\\/]node_modules[\\/](?:streamx|fast-fifo)[\\/].*\.js$/ }, async ({ path }) => {
      const contents = (await readFile(path, 'utf8'))
        .replace(/^const (.+) = require\((.+)\);?$/gm, 'import $1 from $2')
        .replace(/^module\.exports = class/m, 'export default class')
        .replace(/^module\.exports = \{/m, 'export {')
      if (/\brequire\(|\bmodule\./.test(contents)) throw new Failure(`${path} is written in another way than before; scripts/lib/bundle.mjs has to be told`)
      return { contents: named(contents) }
    })
  }
}

/**
 * The entries with a value for `require` that is no namespace, and all below `hypercore/` and `hyperbee/`, which go by a pattern.
 *
 * @returns {string[]}
 */
function requirable () {
  const names = readdirSync(own).filter((name) => name.endsWith('.ts')).map((name) => name.slice(0, -'.ts'.length))
  return [...names.filter((name) => !partsOfHypercore.includes(name)), ...partsOfHypercore.map((name) => `hypercore/${name}`), ...partsOfHyperbee]
}

/** Those entries by their files below `entries/require`, each with its declarations for `import`. */
export function typesOfRequirable () {
  return Object.fromEntries(requirable().map((name) => partsOfHyperbee.includes(name)
    ? [name, `${name}.d.ts`]
    : [name.replace(/^hypercore\//, ''), `entries/${name.replace(/^hypercore\//, '')}.d.ts`]))
}

// esbuild gives the namespace to whoever requires a module; Node and others what is exported for that.
function forRequire (name) {
  return `const it = require('./${name}.js')\nmodule.exports = it && it['module.exports'] || it\n`
}

/** Takes long names out of the engine, and comments and spaces, too, out of what wasm-bindgen wrote around it, and has that look at text. */
export async function shrinkBindings () {
  const esbuild = await import('esbuild')
  const [engine, script] = ['hypertab_bg.wasm', 'hypertab.js'].map((name) => join(dist, 'engine', name))
  const { module, bindings } = shortenNames(await readFile(engine), mend(await readFile(script, 'utf8')))
  const { code } = await esbuild.transform(bindings, { format: 'esm', target: 'es2022', minify: true })
  await Promise.all([
    writeFile(engine, module),
    writeFile(script, code)
  ])
}

// wasm-bindgen trusts that text is text: of anything else it writes where nothing was allocated, and the engine stops. And bytes of another realm,
// as of a frame, are none for it. Its tasks come as soon after a promise as by queueMicrotask(), which takes browsers ten times as long.
function mend (bindings) {
  const text = /function passStringToWasm0\(arg, ?malloc, ?realloc\) ?\{/
  const bytes = /(\w+) instanceof Uint8Array\b/
  const task = /\bqueueMicrotask\((\w+)\);/
  if (![text, bytes, task].every((place) => place.test(bindings))) throw new Failure('wasm-bindgen passes text, bytes or tasks in another way than before; scripts/lib/bundle.mjs has to be told')
  return bindings
    .replace(task, (call, task) => `settled.then(${task}).catch((error) => { queueMicrotask(() => { throw error; }); });`)
    .replace(text, (head) => `${head}if (typeof arg !== 'string') throw new TypeError('text is needed, not ' + (arg === null ? 'null' : typeof arg));`)
    .replace(bytes, (test, value) => `${test} || (ArrayBuffer.isView(${value}) && ${value}[Symbol.toStringTag] === 'Uint8Array')`) + '\nconst settled = Promise.resolve();\n'
}

// The engine stays a file of its own, so that bundlers see where its wasm is.
const engineBeside = {
  name: 'engine-beside',
  setup (build) {
    build.onResolve({ filter: /\/engine\/hypertab\.js$/ }, () => ({ path: '../engine/hypertab.js', external: true }))
  }
}

// For bundlers that leave files behind, it is in a module, too, which is loaded only when the file is missing.
const engineInModule = {
  name: 'engine-in-module',
  setup (build) {
    build.onResolve({ filter: /\/engine\/inline\.js$/ }, () => ({ path: 'engine', namespace: 'inline' }))
    build.onLoad({ filter: /.*/, namespace: 'inline' }, async () => {
      const packed = gzipSync(await readFile(join(dist, 'engine', 'hypertab_bg.wasm')), { level: 9 })
      return { contents: `export default '${packed.toString('base64')}'` }
    })
  }
}

const platformOfNode = {
  name: 'platform-of-node',
  setup (build) {
    build.onResolve({ filter: /\/platform\.js$/ }, () => ({ path: join(source, 'platform.node.ts') }))
  }
}

// Node has the one that the application may use as well; the package's own names give bundlers ours.
const levelByName = {
  name: 'level-by-name',
  setup (build) {
    build.onResolve({ filter: /^abstract-level$/ }, ({ importer }) => importer === levelOfBundlers ? null : { path: '#abstract-level', external: true })
  }
}

// What these require of Node they import here: in a program that a bundler makes one module of, there is no `require`.
const requiresAsImports = {
  name: 'requires-as-imports',
  setup (build) {
    build.onLoad({ filter: /\/node_modules\/(ws|abstract-level|level-supports|level-transcoder|maybe-combine-errors|module-error)\/.*\.js$/ }, async ({ path }) => {
      const imports = new Map()
      const code = (await readFile(path, 'utf8')).replace(/\brequire\('([^']+)'\)/g, (call, name) => {
        if (!isBuiltin(name)) return call
        if (!imports.has(name)) imports.set(name, `import node_${name} from 'node:${name}'`)
        return `node_${name}`
      })
      return { contents: [...imports.values(), code].join('\n') }
    })
  }
}

// The emitter of streams is that of everything else.
const emitterAs = (file) => insteadOf('events-universal', file)

// A browser decodes text itself.
const decoderOfBrowsers = insteadOf('text-decoder', 'text-decoder.ts')

function insteadOf (name, file) {
  return {
    name,
    setup (build) {
      build.onResolve({ filter: new RegExp(`^${name}$`) }, () => ({ path: join(source, 'support', file) }))
    }
  }
}

/** How the sources become modules for browsers. @type {import('esbuild').BuildOptions} */
export const forBrowsers = {
  platform: 'browser',
  define,
  alias: { events: 'bare-events' },
  external: ['react'],
  plugins: [engineBeside, engineInModule, streamsAsModules, emitterAs('events.ts'), decoderOfBrowsers]
}
