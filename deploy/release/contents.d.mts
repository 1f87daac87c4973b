export function contentProblems(files: readonly string[], bytes: number): string[]
