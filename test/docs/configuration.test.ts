import { expect, test } from 'vitest'
import { configurationPage } from '../../docs/configuration.ts'

test('docs/configuration.md is what the table of options says; `npm run docs` writes it', async () => {
  await expect(configurationPage()).toMatchFileSnapshot('../../docs/configuration.md')
})
