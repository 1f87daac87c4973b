import { expect, test } from 'vitest'
import { apiTypes } from '../../console/api-types.ts'
import { TestApi } from '../http/harness.ts'

test('console/src/lib/api-types.ts is what the API is; `npm run docs` writes it', async () => {
  await expect(apiTypes(new TestApi().routes)).toMatchFileSnapshot('../../console/src/lib/api-types.ts')
})
