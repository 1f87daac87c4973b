/** The packages whose code is in the console, and so in the package that users install. The build fails if it bundles others. */
export const BUNDLED = ['@preact/signals', '@preact/signals-core', 'preact', 'uplot']
