// Files and folders that were dropped or picked, with their paths.

export interface DroppedFile {
  /** From the drop on, without a slash in front. */
  readonly path: string
  readonly file: File
}

/** Most files that one drop may hold. */
const MOST_FILES = 10_000

/** Returns all files of a drop, those in folders too. Call it while the event is handled. */
export async function filesOf (transfer: DataTransfer): Promise<DroppedFile[]> {
  // The list is empty once the event is over.
  const items = Array.from(transfer.items).filter(({ kind }) => kind === 'file').map((item) => ({ entry: item.webkitGetAsEntry(), file: item.getAsFile() }))
  const files: DroppedFile[] = []
  for (const { entry, file } of items) {
    // What comes from another page or program may be a file without a place on the disk.
    if (entry) await collect(entry, '', files)
    else if (file) files.push({ path: file.name, file })
  }
  return files
}

/** Returns the files of an input; those of a picked folder have the folder's name in front. */
export function filesOfInput (input: HTMLInputElement): DroppedFile[] {
  return Array.from(input.files ?? [], (file) => ({ path: file.webkitRelativePath || file.name, file }))
}

async function collect (entry: FileSystemEntry, folder: string, files: DroppedFile[]): Promise<void> {
  if (files.length >= MOST_FILES) throw new Error(`More than ${MOST_FILES} files at once are too many. Drop fewer.`)
  if (entry.isFile) {
    const file = await new Promise<File>((resolve, reject) => (entry as FileSystemFileEntry).file(resolve, reject))
    files.push({ path: folder + entry.name, file })
    return
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader()
  for (;;) {
    const entries = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject))
    if (entries.length === 0) return
    for (const child of entries) await collect(child, `${folder}${entry.name}/`, files)
  }
}
