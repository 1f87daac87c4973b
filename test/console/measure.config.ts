import { defineConfig } from 'vitest/config'

export default defineConfig({ test: { include: ['test/console/measure.ts'] } })
