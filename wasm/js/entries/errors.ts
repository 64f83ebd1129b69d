import { HypercoreError } from '../errors.js'

export { HypercoreError as default, HypercoreError }
