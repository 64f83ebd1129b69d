// What the worker of `hypertab/worker` runs.

import type { Postable } from '../remote/port.js'
import { servePage } from '../worker/host.js'

servePage(globalThis as unknown as Postable)
