// How fast a node's DHT answers, by one lookup.
//
// Source: dht-rpc 6.27, `index.js`, `rttStats`.

import type { Query, Reply } from './query.js'

/** The means of some replies. Where there was none they are `NaN`. */
export interface ReplyStats {
  /** Milliseconds until the answer. */
  avgRtt: number
  /** The sum of the numbers of errors. */
  errors: number
  /** Nodes that one named. */
  avgCloserNodes: number
}

/** What `rttStats()` tells of a lookup. */
export interface RttStats {
  /** Requests that were answered, and that were not. */
  successes: number
  errors: number
  /** Of all answers, and of those of the nodes that are closest. */
  responses: ReplyStats
  closestReplies: ReplyStats
}

/** Follows a lookup to its end. */
export async function rttStats (query: Query<Reply>): Promise<RttStats> {
  const replies: Reply[] = []
  for await (const reply of query) replies.push(reply)
  return { successes: query.successes, errors: query.errors, responses: meanOf(replies), closestReplies: meanOf(query.closestReplies) }
}

function meanOf (replies: Reply[]): ReplyStats {
  const sum = (of: (reply: Reply) => number) => replies.reduce((sum, reply) => sum + of(reply), 0)
  return {
    avgRtt: sum(({ rtt }) => rtt) / replies.length,
    errors: sum(({ error }) => error),
    avgCloserNodes: sum(({ closerNodes }) => closerNodes?.length ?? 0) / replies.length
  }
}
