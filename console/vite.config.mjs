import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vite'

/** Where a started Roost is, for `npm run console:dev`. */
const ROOST = process.env.ROOST_URL ?? 'http://127.0.0.1:1885'

export default defineConfig({
  root: fileURLToPath(new URL('.', import.meta.url)),
  // A proxy may put the console below a path.
  base: './',
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  build: {
    outDir: fileURLToPath(new URL('../dist/console', import.meta.url)),
    emptyOutDir: true,
    target: 'es2022',
    // The Content Security Policy has no room for inline scripts, and data: is for images only.
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
  },
  server: {
    proxy: {
      '/api': {
        target: ROOST,
        changeOrigin: true,
        // Roost answers its own pages only.
        configure: (proxy) => proxy.on('proxyReq', (request) => request.removeHeader('origin')),
      },
    },
  },
})
