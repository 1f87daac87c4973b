import { bytes, plural } from '../../lib/numbers.ts'
import { samples } from '../../lib/overview.ts'
import { go, setQuery, where } from '../../lib/route.ts'
import { Card, Empty, Failed, Loading, PageHead, Search } from '../../parts/basics.tsx'
import { Undo } from './deletion.tsx'
import { Found } from './found.tsx'
import { useTree } from './levels.ts'
import { MessageCard } from './message.tsx'
import { TreeView } from './tree.tsx'

export function TopicsPage() {
  const { q = '', topic } = where.value.query
  const tree = useTree(topic)
  const retained = samples.value.at(-1)?.totals.retained
  return (
    <>
      <PageHead
        title="Topics"
        about={
          retained === undefined
            ? 'Retained messages.'
            : `${plural(retained.messages, 'retained message')}, ${bytes(retained.bytes)}. Topics without one are not listed.`
        }
      />
      <Undo onDone={tree.reload} />
      <div class={topic === undefined ? 'topics' : 'topics has-topic'}>
        <div class="topics-list">
          <div class="toolbar">
            <Search
              label="Search topics"
              value={q}
              placeholder="valve, or a filter: site/+/state"
              onInput={(text) => setQuery({ q: text })}
            />
          </div>
          <Card>
            {q.trim() === '' ? (
              <Tree tree={tree} topic={topic} />
            ) : (
              <Found q={q.trim()} selected={topic} onChanged={tree.reload} />
            )}
          </Card>
        </div>
        {topic === undefined ? (
          <Card class="message no-topic">
            <Empty title="Choose a topic">Its retained message is shown here: payload, size, and who published it.</Empty>
          </Card>
        ) : (
          <MessageCard key={topic} topic={topic} below={belowOf(tree, topic)} onChanged={tree.reload} />
        )}
      </div>
    </>
  )
}

function belowOf({ rows }: ReturnType<typeof useTree>, topic: string): number | undefined {
  const row = rows.find((each) => each.kind === 'level' && each.level.topic === topic)
  return row?.kind === 'level' ? row.level.below : undefined
}

function Tree({ tree, topic }: { readonly tree: ReturnType<typeof useTree>; readonly topic: string | undefined }) {
  return (
    <>
      <Failed error={tree.error} retry={tree.reload} />
      {!tree.isKnown && tree.error === undefined && <Loading />}
      {tree.isEmpty && (
        <Empty title="Nothing is retained">
          A message that is published with Retain stays, and is listed here: <code>mosquitto_pub -r -t site/valve -m open</code>
        </Empty>
      )}
      {tree.isKnown && !tree.isEmpty && (
        <TreeView tree={tree} selected={topic} onSelect={(selected) => go(['topics'], { topic: selected })} />
      )}
    </>
  )
}
