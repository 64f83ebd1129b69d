// Files in folders, and every version of them.

import { Corestore, Hyperdrive, memory } from 'hypertab'

const drive = new Hyperdrive(new Corestore(memory()))
await drive.put('/notes/today.txt', 'write examples')
const { version } = drive
await drive.put('/notes/today.txt', 'read examples')
await drive.put('/readme.md', '# A drive')

for await (const { key, value } of drive.list('/')) console.log(key, value.blob.byteLength)
console.log(String(await drive.get('/notes/today.txt')))
const old = drive.checkout(version)
console.log(String(await old.get('/notes/today.txt')))
await old.close()
await drive.close()

// /notes/today.txt 13
// /readme.md 9
// read examples
// write examples
