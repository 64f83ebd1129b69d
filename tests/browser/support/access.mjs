// Whether a page can be used by those who do not see it, or see little contrast: the rules of axe-core.

import assert from 'node:assert/strict'

import axe from 'axe-core'

/** Fails with what is wrong on the page as it is. */
export async function checkAccess (page, what) {
  if (!await page.evaluate(() => 'axe' in window)) await page.evaluate(axe.source)
  const violations = await page.evaluate(async () => {
    // Colours on their way from one scheme to another are no colours of the page.
    await Promise.all(document.getAnimations().filter(({ effect }) => effect.getComputedTiming().iterations !== Infinity).map((animation) => animation.finished.catch(() => {})))
    const { violations } = await window.axe.run(document, { resultTypes: ['violations'] })
    return violations.map(({ id, help, nodes }) => `${id}: ${help}\n${nodes.map(({ html, failureSummary }) => `  ${html}\n    ${failureSummary.replaceAll('\n', ' ')}`).slice(0, 5).join('\n')}`)
  })
  assert.deepEqual(violations, [], `${what}:\n${violations.join('\n')}`)
}
