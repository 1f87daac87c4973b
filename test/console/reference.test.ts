import { expect, test } from 'vitest'
import { reference } from '../../console/reference.ts'

test('console/src/lib/reference.ts is what the tables of notices and options say; `npm run docs` writes it', async () => {
  await expect(reference()).toMatchFileSnapshot('../../console/src/lib/reference.ts')
})
