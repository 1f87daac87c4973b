import { useEffect, useRef, useState } from 'preact/hooks'
import { plural } from '../../lib/numbers.ts'
import { Icon } from '../../parts/icons.tsx'
import { rowKey, type Tree, type TreeRow } from './levels.ts'

interface TreeViewProps {
  readonly tree: Tree
  readonly selected: string | undefined
  readonly onSelect: (topic: string) => void
}

/** A tree by the keyboard pattern of ARIA: arrows move, fold and unfold; Enter selects; letters go to the next that begins so. */
export function TreeView({ tree, selected, onSelect }: TreeViewProps) {
  const { rows, toggle } = tree
  const list = useRef<HTMLDivElement>(null)
  const [focused, setFocused] = useState<string | undefined>(undefined)
  const mayFocus = useRef(false)
  const keys = rows.map(rowKey)
  const selectedKey = selected === undefined ? undefined : `level ${selected}`
  const active = [focused, selectedKey].find((key) => key !== undefined && keys.includes(key)) ?? keys[0]

  // Only after a key: the page must not take the focus by itself.
  useEffect(() => {
    if (!mayFocus.current) return
    mayFocus.current = false
    list.current?.querySelector<HTMLElement>('[tabindex="0"]')?.focus()
  }, [focused])

  const moveTo = (index: number): void => {
    const key = keys[Math.max(0, Math.min(keys.length - 1, index))]
    if (key === undefined || key === active) return
    mayFocus.current = true
    setFocused(key)
  }
  const activate = (row: TreeRow): void => {
    setFocused(rowKey(row))
    if (row.kind === 'more') tree.more(row.prefix)
    if (row.kind !== 'level') return
    // A level without a message of its own has nothing else to show.
    if (row.level.below > 0 && !row.level.retained) toggle(row.level.topic)
    onSelect(row.level.topic)
  }
  const onKeyDown = (event: KeyboardEvent): void => {
    const at = keys.indexOf(active ?? '')
    const row = rows[at]
    if (row === undefined || event.ctrlKey || event.metaKey || event.altKey) return
    if (!act(event.key, at, row)) return
    event.preventDefault()
    event.stopPropagation()
  }
  const act = (key: string, at: number, row: TreeRow): boolean => {
    const parent = rows.findLastIndex((each, i) => i < at && each.depth < row.depth)
    const isFolded = row.kind === 'level' && row.level.below > 0 && !row.isOpen
    const isUnfolded = row.kind === 'level' && row.isOpen
    if (key === 'ArrowDown') moveTo(at + 1)
    else if (key === 'ArrowUp') moveTo(at - 1)
    else if (key === 'Home') moveTo(0)
    else if (key === 'End') moveTo(keys.length - 1)
    else if (key === 'Enter' || key === ' ') activate(row)
    else if (key === 'ArrowRight' && isFolded) toggle(row.level.topic, true)
    else if (key === 'ArrowRight' && isUnfolded) moveTo(at + 1)
    else if (key === 'ArrowLeft' && isUnfolded) toggle(row.level.topic, false)
    else if (key === 'ArrowLeft' && parent >= 0) moveTo(parent)
    else if (key.length === 1 && /\S/.test(key) && key !== '/') moveTo(nextBeginning(rows, at, key))
    else return false
    return true
  }
  return (
    <div ref={list} class="tree" role="tree" aria-label="Topics with retained messages" onKeyDown={onKeyDown}>
      {rows.map((row, i) => (
        <TreeItem
          key={keys[i]}
          row={row}
          isActive={keys[i] === active}
          isSelected={keys[i] === selectedKey}
          onActivate={() => activate(row)}
          onToggle={() => row.kind === 'level' && toggle(row.level.topic)}
        />
      ))}
    </div>
  )
}

function nextBeginning(rows: readonly TreeRow[], at: number, letter: string): number {
  const order = [...rows.keys()].map((i) => (at + 1 + i) % rows.length)
  const begins = (row: TreeRow | undefined): boolean =>
    row?.kind === 'level' && row.level.level.toLowerCase().startsWith(letter.toLowerCase())
  return order.find((i) => begins(rows[i])) ?? at
}

interface TreeItemProps {
  readonly row: TreeRow
  readonly isActive: boolean
  readonly isSelected: boolean
  readonly onActivate: () => void
  readonly onToggle: () => void
}

function TreeItem({ row, isActive, isSelected, onActivate, onToggle }: TreeItemProps) {
  const isLevel = row.kind === 'level'
  const hasBelow = isLevel && row.level.below > 0
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: the tree has the keys.
    <div
      role="treeitem"
      class={isSelected ? 'is-selected' : ''}
      tabIndex={isActive ? 0 : -1}
      aria-level={row.depth}
      aria-expanded={hasBelow ? row.isOpen : undefined}
      aria-selected={isSelected}
      style={{ paddingLeft: `${8 + Math.min(row.depth - 1, 12) * 18}px` }}
      onClick={({ target }) => (hasBelow && (target as Element).closest('.fold-mark') !== null ? onToggle() : onActivate())}
    >
      <span class={isLevel && row.isOpen ? 'fold-mark is-open' : 'fold-mark'}>{hasBelow && <Icon name="right" />}</span>
      {isLevel ? <LevelText {...row} /> : <span class="faint">{row.kind === 'more' ? 'Show more …' : 'Loading …'}</span>}
    </div>
  )
}

function LevelText({ level: { level, retained, below } }: Extract<TreeRow, { readonly kind: 'level' }>) {
  return (
    <>
      <span class={retained ? 'level-name is-retained' : 'level-name'}>
        {level === '' ? <i class="faint">(empty)</i> : level}
        {retained && <span class="visually-hidden">, retained</span>}
      </span>
      {below > 0 && (
        <span class="faint below">
          {below}
          <span class="visually-hidden"> {plural(below, 'message')} below</span>
        </span>
      )}
    </>
  )
}
