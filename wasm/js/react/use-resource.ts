// The hook below all others.

import { useEffect, useRef, useState, type DependencyList } from 'react'

import { Lease, type Kind, type Source, type Status } from './lease.js'

/** What a hook returns of one thing. */
export type Held<R, T> = Status & T & { resource: R | null }

/**
 * Has something for as long as the component is mounted and `deps` stay, and renders again when it changes. A function makes
 * one, which is closed along; something that is given is only watched, and may be null while there is none.
 *
 * @param question when it changes, it is read again
 */
export function useResource<R, T extends object> (kind: Kind<R, T>, source: Source<R> | null, deps: DependencyList, question: string): Held<R, T> {
  const [held, setHeld] = useState<Held<R, T>>(() => initial(kind))
  const lease = useRef<Lease<R, T> | null>(null)
  // The newest closures: a source is called, and a kind read, as they were last rendered.
  const latest = useRef({ kind, source })
  useEffect(() => { latest.current = { kind, source } })

  useEffect(() => {
    if (source === null) {
      setHeld(initial(kind))
      return
    }
    const delegate: Kind<R, T> = {
      nothing: kind.nothing,
      ready: (resource) => latest.current.kind.ready(resource),
      listen: (resource, changed) => latest.current.kind.listen(resource, changed),
      read: (resource, signal) => latest.current.kind.read(resource, signal),
      isClosed: (resource) => latest.current.kind.isClosed(resource),
      close: (resource) => latest.current.kind.close(resource)
    }
    const made = new Lease(delegate, source, (resource, told, status) => { setHeld({ ...told, ...status, resource }) })
    lease.current = made
    return () => {
      lease.current = null
      made.release()
      setHeld(initial(kind))
    }
  }, [typeof source === 'function' ? null : source, ...deps])

  useEffect(() => { lease.current?.refresh() }, [question])
  return held
}

function initial<R, T extends object> (kind: Kind<R, T>): Held<R, T> {
  return { ...kind.nothing, status: 'opening', error: null, resource: null }
}
