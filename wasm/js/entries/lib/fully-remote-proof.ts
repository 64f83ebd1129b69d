export * from '../../hypercore/lib/fully-remote-proof.js'
