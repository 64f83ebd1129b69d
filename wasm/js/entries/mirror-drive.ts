import { MirrorDrive } from '../mirror-drive/mirror-drive.js'

export { MirrorDrive as default, MirrorDrive }
export type { AnyDrive, MirrorOptions, MirrorStep } from '../mirror-drive/mirror-drive.js'
export type { Monitor, MirrorStats } from '../mirror-drive/monitor.js'
