// What wasm-bindgen generates beside the package's own files: two ways to load the module. Its other exports are
// described by `Engine` in ../binding.ts.

export default function init (options: { module_or_path: unknown }): Promise<unknown>
export function initSync (options: { module: unknown }): unknown
