// Has a program that was written for upstream's packages get ours: `node --import` of this file changes its imports, and nothing else.

import { register } from 'node:module'

register(`data:text/javascript,${encodeURIComponent(`
  const ours = new Set(['hypercore', 'corestore', 'hyperbee', 'hyperblobs', 'hyperdrive', 'localdrive', 'mirror-drive', 'hyperswarm'])
  export async function resolve (name, context, next) {
    const isOfProgram = context.parentURL?.includes('/support/how-to/') && ours.has(name.split('/')[0])
    return await next(isOfProgram ? 'hypertab/' + name : name, context)
  }
`)}`)
