export * from '../../hypercore/lib/messages.js'
