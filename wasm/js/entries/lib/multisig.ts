export * from '../../hypercore/lib/multisig.js'
