// Where a large file is saved: the browser's file dialog, where there is one, so that it never has to fit into memory.

import type { Sink } from './file-fetch.ts'

/** Browsers without the dialog lack the function. */
interface WithPicker {
  showSaveFilePicker? (options: { suggestedName: string }): Promise<{ createWritable (): Promise<Sink> }>
}

/** Whether a file can go to the disk as it comes. */
export function canStream (): boolean {
  return 'showSaveFilePicker' in window
}

/** Asks where to save; null when the person does not want to. Call it while a click is handled. */
export async function chooseTarget (name: string): Promise<Sink | null> {
  try {
    const file = await (window as WithPicker).showSaveFilePicker!({ suggestedName: name })
    return await file.createWritable()
  } catch (error) {
    if ((error as Error).name === 'AbortError') return null
    throw error
  }
}
