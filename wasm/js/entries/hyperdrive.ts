import { Hyperdrive } from '../hyperdrive/hyperdrive.js'

export { Hyperdrive as default, Hyperdrive }
export { formatUrl, parseUrl } from '../url/hyper-url.js'
export { openUrl, urlOf } from '../url/open.js'
export type { HyperdriveEvents } from '../hyperdrive/hyperdrive.js'
export type * from '../hyperdrive/options.js'
export type { Download, DownloadOptions } from '../hyperdrive/download.js'
export type { Monitor, MonitorOptions } from '../hyperdrive/monitor.js'
export type { Mount, MountOptions, MountReader, Place } from '../hyperdrive/mounts.js'
export type { FileReadStream, FileWriteStream } from '../hyperdrive/streams.js'
export type { DriveUrl, DriveUrlInput } from '../url/hyper-url.js'
export type { DriveLinkOptions } from '../url/open.js'
