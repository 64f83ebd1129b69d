import { Mux } from '../links/mux.js'

export { Mux as default, Mux as Protomux }
export type { ChannelName } from '../links/mux.js'
export type { Channel, ChannelOptions, Message, MessageOptions } from '../links/channel.js'
