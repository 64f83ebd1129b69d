import { Verifier } from '../../hypercore/lib/verifier.js'

export { Verifier as default, Verifier }
