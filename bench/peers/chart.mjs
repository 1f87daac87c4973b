// Bar charts of ratios as SVG: a logarithmic axis, a bar from 1 to the median for each peer, and a line from the lowest to the highest run.
const WIDTH = 860
const LEFT = 220
const RIGHT = 70
const BAR = 11
const GAP = 12
const TOP = 64
/** One colour for each peer, distinct from both backgrounds. */
const COLOURS = ['#3d7fd9', '#d9822b', '#3aa06a', '#a45fc9', '#c94f5f']
const TICKS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50]

const STYLE = `
  text { font: 12px system-ui, sans-serif; fill: #24292f }
  .back { fill: #ffffff } .grid { stroke: #d0d7de } .one { stroke: #24292f } .range { stroke: #24292f; stroke-width: 1.5 }
  .title { font-size: 14px; font-weight: 600 } .small { font-size: 11px } .end { text-anchor: end } .mid { text-anchor: middle }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .back { fill: #0d1117 } .grid { stroke: #30363d } .one { stroke: #e6edf3 } .range { stroke: #e6edf3 }
  }`

const escaped = (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')

/** `rows` as figures.mjs makes them; `peers`: name and title of each system with bars. */
export function chart(title, rows, peers) {
  const shown = rows.filter(({ ratios }) => peers.some(({ name }) => ratios[name]?.median !== undefined))
  const all = shown.flatMap(({ ratios }) => peers.map(({ name }) => ratios[name]).filter((ratio) => ratio?.median !== undefined))
  const low = Math.min(0.5, ...all.map(({ min }) => min)) / 1.1
  const high = Math.max(2, ...all.map(({ max }) => max)) * 1.1
  const x = (ratio) => LEFT + ((WIDTH - LEFT - RIGHT) * Math.log(ratio / low)) / Math.log(high / low)
  const group = peers.length * BAR + GAP
  const bottom = TOP + 18 + shown.length * group
  const parts = [`<rect class="back" width="${WIDTH}" height="${bottom + 12}" rx="6"/>`]
  parts.push(`<text class="title" x="14" y="22">${escaped(title)}</text>`)
  peers.forEach(({ title: name }, i) => {
    const at = 14 + i * 165
    parts.push(
      `<rect x="${at}" y="34" width="10" height="10" fill="${COLOURS[i]}"/><text x="${at + 15}" y="43">${escaped(name)}</text>`,
    )
  })
  for (const tick of TICKS.filter((each) => each > low && each < high)) {
    const at = x(tick).toFixed(1)
    parts.push(`<line class="${tick === 1 ? 'one' : 'grid'}" x1="${at}" x2="${at}" y1="${TOP + 12}" y2="${bottom}"/>`)
    parts.push(`<text class="small mid" x="${at}" y="${TOP + 7}">${tick}</text>`)
  }
  shown.forEach(({ scenario, figure, ratios }, row) => {
    const top = TOP + 18 + row * group
    const label = figure.name === 'delivered' ? scenario : `${scenario}, ${figure.name}`
    parts.push(
      `<text class="end" x="${LEFT - 10}" y="${(top + (peers.length * BAR) / 2 + 4).toFixed(1)}">${escaped(label)}</text>`,
    )
    peers.forEach(({ name }, i) => {
      const ratio = ratios[name]
      if (ratio?.median === undefined) return
      const [from, to] = [x(Math.min(1, ratio.median)), x(Math.max(1, ratio.median))]
      const y = top + i * BAR
      parts.push(
        `<rect x="${from.toFixed(1)}" y="${y}" width="${(to - from).toFixed(1)}" height="${BAR - 2}" fill="${COLOURS[i]}"/>`,
      )
      parts.push(
        `<line class="range" x1="${x(ratio.min).toFixed(1)}" x2="${x(ratio.max).toFixed(1)}" y1="${y + 4.5}" y2="${y + 4.5}"/>`,
      )
      parts.push(
        `<text class="small" x="${(x(Math.max(1, ratio.max)) + 5).toFixed(1)}" y="${y + 9}">${shortRatio(ratio.median)}</text>`,
      )
    })
  })
  const box = `viewBox="0 0 ${WIDTH} ${bottom + 12}" width="${WIDTH}" height="${bottom + 12}"`
  return `<svg xmlns="http://www.w3.org/2000/svg" ${box} role="img" aria-label="${escaped(title)}">\n<style>${STYLE}\n</style>\n${parts.join('\n')}\n</svg>\n`
}

export const shortRatio = (ratio) => (ratio >= 10 ? ratio.toFixed(0) : ratio.toPrecision(2))
