// Why a link is refused.

/** A link that says nothing, or something that is not so. */
export class LinkError extends Error {
  /** Stable. */
  readonly code: 'ERR_INVALID_LINK' | 'ERR_LINK_MISMATCH'
  /** What was found in the link. */
  readonly info: Record<string, unknown>

  constructor (code: LinkError['code'], message: string, info: Record<string, unknown> = {}, options?: ErrorOptions) {
    super(message, options)
    this.code = code
    this.info = info
  }

  override get name (): string {
    return 'LinkError'
  }
}

export function invalidLink (message: string, info: Record<string, unknown>, cause?: unknown): LinkError {
  return new LinkError('ERR_INVALID_LINK', message, info, cause === undefined ? undefined : { cause })
}
