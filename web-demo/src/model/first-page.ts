// What a new site begins with: one page, to be replaced.

import type { Drive } from './drive.ts'

/** Puts a first page into a site. */
export async function firstPage (drive: Drive, name: string): Promise<void> {
  await drive.open()
  const title = (name || 'A new site').replace(/[&<>]/g, (sign) => `&#${sign.charCodeAt(0)};`)
  const text = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title>
<style>body { max-width: 40em; margin: 3em auto; padding: 0 1em; font: 1.0625rem/1.6 system-ui, sans-serif; }</style>
<h1>${title}</h1>
<p>This site lives in the tab that made it, and in those of its readers. Put an index.html of your own in its place.</p>
</html>
`
  await drive.put('/index.html', new Blob([text], { type: 'text/html' }), () => {})
}
