import { copyPrologue } from '../../hypercore/prologue.js'

export { copyPrologue as default, copyPrologue }
