// Certificates for servers on loopback.

import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

/**
 * Makes an authority, and a certificate of it for these names, in a folder.
 *
 * @param {string} folder
 * @param {string[]} names as OpenSSL writes them: `DNS:relay.example.org`, `IP:127.0.0.1`
 * @returns {{ root: string, certificate: string, key: string }} files, PEM
 */
export function makeCertificate (folder, names) {
  const file = (name) => join(folder, name)
  const openssl = (...args) => execFileSync('openssl', args, { stdio: 'ignore' })
  const [root, rootKey, certificate, key, request, extensions] =
    ['root.pem', 'root.key', 'fullchain.pem', 'privkey.pem', 'request.pem', 'extensions.cnf'].map(file)
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  openssl('req', '-x509', ...curve, '-days', '2', '-subj', '/CN=Test authority', '-keyout', rootKey, '-out', root)
  openssl('req', ...curve, '-subj', '/CN=Test server', '-keyout', key, '-out', request)
  writeFileSync(extensions, `subjectAltName=${names.join(',')}\n`)
  openssl('x509', '-req', '-in', request, '-CA', root, '-CAkey', rootKey, '-CAcreateserial', '-days', '2', '-extfile', extensions, '-out', certificate)
  return { root, certificate, key }
}
