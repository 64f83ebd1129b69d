// Cores, bees, drives and swarms in React components.

export { useCore, type CoreState } from '../react/core.js'
export { useBee, type BeeState, type UseBeeOptions } from '../react/bee.js'
export { useDrive, type DriveState, type UseDriveOptions } from '../react/drive.js'
export { useSwarm, type SwarmConnection, type SwarmState, type UseSwarmOptions } from '../react/swarm.js'
export type { Source, Status } from '../react/lease.js'
