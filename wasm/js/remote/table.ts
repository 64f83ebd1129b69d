// What the exports of the engine take and make, for whoever carries calls to an engine elsewhere.

/** Handles among the arguments, and what a call makes. */
export interface Method {
  /** Which arguments are handles. */
  handles: readonly number[]
  makes: Makes
}

/** Nothing; a request; a handle; a core and the request that opens it; or only an answer, from what is known here. */
export type Makes = 'nothing' | 'request' | 'handle' | 'core' | 'answer'

const [first, both] = [[0], [0, 1]] as const

function methods (makes: Makes, handles: readonly number[], names: string): Array<[string, Method]> {
  return names.trim().split(/\s+/).map((name) => [name, { makes, handles }])
}

/** Exports with state. What is not here only computes, and does so wherever it is called. */
export const METHODS: ReadonlyMap<string, Method> = new Map([
  ...methods('nothing', first, `
    resumeStore closeAtom coreSetActive coreSetFindingPeers coreSwitch coreSetInFlight
    coreSetRecovering coreRelease coreGuard coreAdmit corePush coreAskForRepair coreSendExtension linkBytes linkCredit linkEnded linkHalfEnded linkReadMessages linkStopMessages linkStartChannels
    closeLink breakLink finishLink rejectDiscoveryKey linkSetKeepAlive linkSendKeepAlive rejectChannel corkLink closeRelay resumeRelay interruptRelay relayPing acceptConnection coreTellSignature
    denyConnection relaySigned cancel writeToReply closeQuestion expectDirect openDirect directBytes closeDirect`),
  ...methods('nothing', both, 'attach detach closeChannel coreCloseSnapshot'),
  ...methods('request', first, `
    closeStore suspendStore storeSeed storeDefaultCore storeAlias storeForget storeTakeIn storeDropIncoming storeInfos storeCores storeAliases storeGroup
    storeGroupUpdates storeBranches storeRecords closeCore coreAppend coreGet coreUpdate coreSeek coreTruncate coreClear coreDownload
    coreTreeHash coreSetUserData coreUserData coreProof coreApplyProof coreCheckReorg coreApplyReorg coreMark coreClearMarks coreUnmarked coreAudit flushAtom
    coreUserDataList coreLocalList coreHold coreSetManifest coreSetGroup coreRepair coreReadRecords coreWriteRecords coreHasStored coreMissingNodes coreVerifyFullyRemote
    relayLookup relayAnnounce relayUnannounce closeServer`),
  ...methods('request', both, 'coreCommit coreCopyPrologue coreCatchUp'),
  ...methods('core', first, 'openCore openBranch'),
  ...methods('core', both, 'openAtomic'),
  ...methods('handle', first, 'createAtom relayConnect relayListen relayAsk'),
  ...methods('handle', [], 'openMemoryStore openLink openRelay'),
  ...methods('answer', first, `
    coreKey coreDiscoveryKey coreManifest corePublicKey coreHasSecretKey coreKeyPair coreIsCompat coreLength coreFork coreByteLength
    coreContiguousLength coreRemoteContiguousLength corePeers coreTraffic coreDetours coreFindBlock coreCountBlocks coreBlocksPage coreDownloads coreRoots coreSignature
    coreIsLost coreGroup coreRecovering coreLayers coreSnapshot coreChangedPages linkStats linkSend
    openChannel`),
  ...methods('answer', both, 'channelSend')
])

/** Which writes of a core can be recorded, and where among their arguments the name of the record goes. */
export const RECORDED: ReadonlyMap<string, number> = new Map([['coreAppend', 2], ['coreCommit', 2], ['coreTruncate', 2], ['coreSetUserData', 3]])

/** How many handles each engine elsewhere may have: a handle says by its size where it is. */
export const HANDLES = 2 ** 32

/** Whether what a handle names is in an engine elsewhere. */
export function isElsewhere (handle: number): boolean {
  return handle >= HANDLES
}

/** Which engine a handle is of: 0 for the one in this realm. */
export function homeOf (handle: number): number {
  return Math.floor(handle / HANDLES)
}
