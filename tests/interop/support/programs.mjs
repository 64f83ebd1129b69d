// Programs that tests need of the machine, which `npm test` installs where Debian has them.

import { execFileSync } from 'node:child_process'

/**
 * Says why a test has to be skipped whose programs are missing; false if none is.
 *
 * @param {...string} names
 */
export function missing (...names) {
  const absent = names.filter((name) => {
    try {
      return execFileSync('sh', ['-c', `PATH="$PATH:/usr/sbin" command -v ${name}`]).length === 0
    } catch {
      return true
    }
  })
  return absent.length > 0 && `This machine has no ${absent.join(', no ')}.`
}

/** Says why a test is skipped that takes a network of its own. */
export function withoutNetworks () {
  const isRoot = process.platform === 'linux' && process.getuid() === 0
  return isRoot ? missing('ip', 'nft', 'unshare') : 'A network of its own takes root on Linux (unshare --net).'
}

/** What `unshare` takes to run a program of ours on a machine of its own, all of whose processes end with the first. */
export const OWN_MACHINE = ['--net', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc', process.execPath]
