// What programs over bees get. Nothing of Node is needed, so that the same programs run in a page.

/** A scene with bees over the cores of each side. */
export function withBees (scene, beeOf) {
  const make = (Core, create) => async (options, ...args) => {
    const bee = new (beeOf(Core))(await create(...args), options)
    scene.defer(() => bee.close())
    await bee.ready()
    return bee
  }
  return {
    ...scene,
    Hyperbee: beeOf(scene.A),
    createBee: make(scene.A, scene.createA),
    createBeeA: make(scene.A, scene.createA),
    createBeeB: make(scene.B, scene.createB)
  }
}

/** Everything that a stream or iterator gives. */
export async function collect (stream) {
  const all = []
  for await (const data of stream) all.push(data)
  return all
}

/** Every block of a core. */
export async function blocksOf (core) {
  const blocks = []
  for (let i = 0; i < core.length; i++) blocks.push(Buffer.from(await core.get(i)).toString('hex'))
  return blocks
}

/** Numbers that look random and are the same every time, from 0 to below `end`. */
export function random (seed) {
  let x = seed >>> 0 || 1
  return (end) => {
    x ^= x << 13; x >>>= 0; x ^= x >>> 17; x ^= x << 5; x >>>= 0
    return x % end
  }
}
