import { MemoryStore, type StoreRecord } from '../../src/store/store.ts'

/** Whatever it takes is durable at once, and the test says what it does not take. */
export class RefusingStore extends MemoryStore {
  override readonly isMemory = false
  refuses: (type: StoreRecord['type']) => boolean = () => false

  override append(record: StoreRecord): number {
    return this.refuses(record.type) ? ('full' as never) : super.append(record)
  }
}
