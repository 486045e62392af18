/** Lines over time. */
import { html } from 'htm/preact';
import type { VNode } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import uPlot from 'uplot';
import { time } from './words.ts';

export type Line = { readonly label: string; readonly colour: string; readonly values: readonly (number | null)[] };

/** The hour, or at midnight the day. */
function clockTime(seconds: number): string {
  const text = time(seconds * 1000);
  return text.slice(11, 16) === '00:00' ? text.slice(5, 10) : text.slice(11, 16);
}

/** `at` in milliseconds since 1970, ascending; every line has as many values. Colours are names of the style sheet. */
export function Chart({
  at,
  lines,
  height = 180,
}: {
  readonly at: readonly number[];
  readonly lines: readonly Line[];
  readonly height?: number;
}): VNode {
  const place = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const element = place.current;
    if (!element) return undefined;
    const style = getComputedStyle(document.documentElement);
    const colour = (name: string): string => style.getPropertyValue(name).trim();
    const axis = { stroke: colour('--dim'), grid: { stroke: colour('--line'), width: 1 }, ticks: { show: false } };
    const plot = new uPlot(
      {
        width: element.clientWidth,
        height,
        legend: { live: true },
        axes: [
          { ...axis, values: (_plot, seconds) => seconds.map(clockTime) },
          { ...axis, size: 44 },
        ],
        scales: { y: { range: (_plot, _low, high) => [0, Math.max(1, high * 1.1)] } },
        series: [
          {},
          ...lines.map((line) => ({
            label: line.label,
            stroke: colour(line.colour),
            width: 2,
            points: { show: false },
          })),
        ],
      },
      [at.map((each) => each / 1000), ...lines.map(({ values }) => [...values])] as uPlot.AlignedData,
      element,
    );
    const watcher = new ResizeObserver(() => plot.setSize({ width: element.clientWidth, height }));
    watcher.observe(element);
    return () => {
      watcher.disconnect();
      plot.destroy();
    };
  }, [at, lines]);
  const sum = (values: Line['values']): number => values.reduce<number>((all, value) => all + (value ?? 0), 0);
  const says = lines.map(({ label, values }) => `${label}: ${sum(values)}`).join(', ');
  return html`<div class="chart" ref=${place} role="img" aria-label=${says}></div>`;
}
