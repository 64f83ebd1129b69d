// An `abstract-level` database over a bee.

export { BeeLevel as default, BeeLevel, type BeeSource } from '../level/bee-level.js'
