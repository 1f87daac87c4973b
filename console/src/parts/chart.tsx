import { useEffect, useRef } from 'preact/hooks'
import uPlot from 'uplot'
import 'uplot/dist/uPlot.min.css'
import { effect } from '@preact/signals'
import { theme } from '../lib/theme.ts'
import { clock } from '../lib/time.ts'

export interface Series {
  readonly label: string
  /** Name of a custom property of the style sheet: `--series-1`. */
  readonly color: string
  readonly dash?: readonly number[]
  readonly values: readonly (number | undefined)[]
}

interface ChartProps {
  readonly title: string
  /** Milliseconds since 1970. */
  readonly times: readonly number[]
  readonly series: readonly Series[]
  readonly format: (value: number) => string
  /** The scale reaches at least so high, so that silence does not look like a storm. */
  readonly atLeast?: number
}

const HEIGHT = 150
/** Seconds that the chart spans: as many as there are, within these. */
const SPAN_MIN = 60
const SPAN_MAX = 600

/** Lines over the last minutes, ten at most, with the current values as text. */
export function Chart({ title, times, series, format, atLeast = 1 }: ChartProps) {
  const host = useRef<HTMLDivElement>(null)
  const plot = useRef<uPlot | undefined>(undefined)
  const shape = series.map(({ label, color }) => `${label} ${color}`).join()

  // Only another shape needs another plot; data comes below.
  useEffect(() => {
    const element = host.current
    if (element === null) return
    const draw = (): void => {
      plot.current?.destroy()
      plot.current = new uPlot(optionsOf(element, series, format, atLeast), dataOf(times, series), element)
    }
    const observer = new ResizeObserver(() => {
      const { clientWidth: width } = element
      if (plot.current === undefined || Math.abs(plot.current.width - width) > 1) {
        if (plot.current === undefined) draw()
        else plot.current.setSize({ width, height: HEIGHT })
      }
    })
    observer.observe(element)
    const dark = matchMedia('(prefers-color-scheme: dark)')
    dark.addEventListener('change', draw)
    const unwatch = effect(() => {
      theme.value
      draw()
    })
    return () => {
      observer.disconnect()
      dark.removeEventListener('change', draw)
      unwatch()
      plot.current?.destroy()
      plot.current = undefined
    }
  }, [shape])

  useEffect(() => {
    plot.current?.setData(dataOf(times, series))
  })

  const current = series.map(({ label, values }) => {
    const value = values.at(-1)
    return { label, text: value === undefined ? '–' : format(value) }
  })
  return (
    <figure class="chart">
      <figcaption>
        <h2>{title}</h2>
        <ul>
          {series.map(({ label, color }, i) => (
            <li key={label}>
              <span class={`swatch ${color.slice(2)}`} aria-hidden="true" />
              {label} <b>{current[i]!.text}</b>
            </li>
          ))}
        </ul>
      </figcaption>
      <div
        ref={host}
        class="plot"
        role="img"
        aria-label={`${title}, the last minutes; now ${current.map(({ label, text }) => `${label} ${text}`).join(', ')}`}
      />
    </figure>
  )
}

const dataOf = (times: readonly number[], series: readonly Series[]): uPlot.AlignedData => [
  times.map((at) => at / 1000),
  ...series.map(({ values }) => values.map((value) => value ?? null)),
]

function optionsOf(
  element: HTMLElement,
  series: readonly Series[],
  format: (value: number) => string,
  atLeast: number,
): uPlot.Options {
  const style = getComputedStyle(element)
  const color = (name: string): string => resolved(element, name)
  const axis = {
    stroke: color('--text-faint'),
    grid: { stroke: color('--line'), width: 1 },
    ticks: { show: false },
    font: `11px ${style.fontFamily}`,
  }
  return {
    width: Math.max(element.clientWidth, 100),
    height: HEIGHT,
    legend: { show: false },
    cursor: { y: false, points: { size: 6 } },
    padding: [8, 8, 0, 0],
    scales: {
      x: { time: true, range: (_plot, min, max) => spanOf(min, max) },
      y: { range: (_plot, _min, max) => [0, Math.max(atLeast, (max ?? 0) * 1.1)] },
    },
    axes: [
      {
        ...axis,
        size: 26,
        space: 70,
        values: (_plot, ticks) => ticks.map((at) => clock(at * 1000).slice(0, at % 60 === 0 ? 5 : 8)),
      },
      { ...axis, size: 54, space: 34, values: (_plot, ticks) => ticks.map((value) => format(value)) },
    ],
    series: [
      {},
      ...series.map(({ label, color: name, dash }) => ({
        label,
        stroke: color(name),
        width: 1.75,
        points: { show: false },
        ...(dash !== undefined && { dash: [...dash] }),
      })),
    ],
  }
}

function spanOf(min: number | null, max: number | null): [number, number] {
  const last = max ?? Date.now() / 1000
  return [last - Math.min(SPAN_MAX, Math.max(SPAN_MIN, last - (min ?? last))), last]
}

/** A custom property as a colour that a canvas understands: `light-dark()` is resolved by the style sheet only. */
function resolved(element: HTMLElement, name: string): string {
  const probe = document.createElement('span')
  probe.style.color = `var(${name})`
  element.append(probe)
  const { color } = getComputedStyle(probe)
  probe.remove()
  return color
}
