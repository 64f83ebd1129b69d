// A conflict between two writers, and what a program sees of it, in every pair of implementations.

import b4a from 'b4a'

import { eventually } from './support/both.mjs'
import { suite, suiteOfPairs } from './support/suite.mjs'

suiteOfPairs('two histories of one key are told with their evidence', async (t, { createA, createB, replicate }) => {
  const writer = await createA(t)
  const other = await createA(t, { keyPair: writer.keyPair })
  const reader = await createB(t, writer.key)
  await writer.append(['a', 'c', 'c'])
  await other.append(['a', 'd', 'e', 'f'])
  const conflicts = []
  reader.on('conflict', (length, fork, proof) => conflicts.push({ length, fork, proof }))
  replicate(writer, reader, t)
  await reader.get(2)
  replicate(other, reader, t)
  await eventually(() => conflicts.length > 0 && reader.closed, 'the conflict')
  const [{ length, fork, proof }] = conflicts
  t.is(length, 3)
  t.is(fork, 0)
  t.is(proof.upgrade.length, 3)
  t.ok(proof.upgrade.signature)
  t.is(proof.request, 0)
  t.is(reader.core.header.frozen, true)
  t.is(writer.core.header.frozen, false)
})

suite('a proof for whoever lost a node', async (t, { create }) => {
  const core = await create(t)
  await core.append(['a', 'b', 'c', 'd'])
  const copy = await create(t, { keyPair: core.keyPair })
  const bytes = await core.generateRemoteProofForTreeNode(3)
  t.is(await copy.recoverFromRemoteProof(bytes), true)
  t.is(await copy.recoverFromRemoteProof(b4a.concat([b4a.alloc(32), bytes.subarray(32)])), false)
})
