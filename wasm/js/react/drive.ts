// A drive in a component, with the files of a folder.

import type { DependencyList } from 'react'

import type { Hyperdrive } from '../hyperdrive/hyperdrive.js'
import type { DriveEntry } from '../hyperdrive/options.js'
import { listenTo } from './core.js'
import type { Kind, Source, Status } from './lease.js'
import { useResource } from './use-resource.js'

/** What `useDrive` returns. */
export interface DriveState extends Status {
  /** The drive; null before the component is mounted. */
  drive: Hyperdrive | null
  /** The length of the entries' core, at least 1. */
  version: number
  /** Whether files can be put. */
  writable: boolean
  /** The files below the folder, by their paths; empty without a folder. */
  files: DriveEntry[]
}

/** What `useDrive` keeps up to date. */
export interface UseDriveOptions {
  /** Whose files to keep up to date; `/` for all of them. */
  folder?: string | null
  /** False for the first file of each child only. */
  recursive?: boolean
  /** The drive is made anew when one of these changes. */
  deps?: DependencyList
}

/** Has a drive, and renders again when files of the folder change. As with `useCore`, what a function makes is closed along. */
export function useDrive (source: Source<Hyperdrive> | null, { folder = null, recursive = true, deps = [] }: UseDriveOptions = {}): DriveState {
  const kind: Kind<Hyperdrive, Omit<DriveState, keyof Status | 'drive'>> = {
    nothing: { version: 0, writable: false, files: [] },
    ready: (drive) => drive.ready(),
    listen: (drive, changed) => listenTo(drive.core, changed),
    read: async (drive, signal) => {
      const files: DriveEntry[] = []
      if (folder !== null) {
        const stream = drive.list(folder, { recursive })
        signal.addEventListener('abort', () => { stream.destroy() })
        for await (const entry of stream) files.push(entry as DriveEntry)
      }
      return { version: drive.version, writable: drive.writable, files }
    },
    isClosed: (drive) => drive.closed,
    close: (drive) => drive.close()
  }
  const { resource, ...state } = useResource(kind, source, deps, JSON.stringify([folder, recursive]))
  return { ...state, drive: resource }
}
