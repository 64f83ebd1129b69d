export { SMALL_WANTS } from '../../hypercore/features.js'
