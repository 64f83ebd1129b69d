// Makes `<hypertab-inspector>` known.

import { defineInspector, HypertabInspector } from '../inspector/inspector.js'

defineInspector()

export { HypertabInspector as default, HypertabInspector }

declare global {
  interface HTMLElementTagNameMap {
    'hypertab-inspector': HypertabInspector
  }
}
