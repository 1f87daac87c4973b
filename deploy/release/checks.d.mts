interface Locked {
  readonly version: string
  readonly packages: Readonly<Record<string, { readonly version?: string; readonly dev?: boolean; readonly license?: string }>>
}
export function versionProblems(manifest: { readonly version: string }, lock: Locked): string[]
export function licenceProblems(lock: Locked, bundled: readonly string[]): string[]
