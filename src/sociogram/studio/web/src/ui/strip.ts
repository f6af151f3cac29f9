/** Scales of the strip under the timeline. */

export interface Band {
  low: number;
  high: number;
}

type Series = readonly (number | null)[];

/** The range of all series, a little wider than they are, so that no line runs along the edge. */
export function range(series: readonly Series[]): Band {
  let [low, high] = [Infinity, -Infinity];
  for (const values of series) {
    for (const value of values) {
      if (value === null || !Number.isFinite(value)) continue;
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
  }
  if (low > high) return { low: 0, high: 1 };
  if (low === high) return { low: low - 0.5, high: high + 0.5 };
  const air = (high - low) * 0.06;
  return { low: low - air, high: high + air };
}

/** Where a stop lies: half of a slot in from each side. */
export function along(stop: number, stops: number, width: number): number {
  return ((stop + 0.5) / stops) * width;
}

export function up(value: number, band: Band, height: number): number {
  return height - ((value - band.low) / (band.high - band.low)) * height;
}

/** The stop under a place. */
export function stopAt(x: number, stops: number, width: number): number {
  return Math.min(stops - 1, Math.max(0, Math.floor((x / width) * stops)));
}

/** A line that is broken where a value does not exist. */
export function line(values: Series, band: Band, width: number, height: number): string {
  let path = "";
  let pen = false;
  values.forEach((value, stop) => {
    if (value === null || !Number.isFinite(value)) return void (pen = false);
    path += `${pen ? "L" : "M"}${along(stop, values.length, width).toFixed(1)} ${up(value, band, height).toFixed(1)}`;
    pen = true;
  });
  return path;
}

/** The area between two series, one piece for each stretch where both exist. */
export function area(low: Series, high: Series, band: Band, width: number, height: number): string {
  const pieces: [number, number][] = [];
  low.forEach((value, stop) => {
    if (value === null || high[stop] == null) return;
    const last = pieces.at(-1);
    if (last && last[1] === stop - 1) last[1] = stop;
    else pieces.push([stop, stop]);
  });
  return pieces
    .map(([from, to]) => {
      const point = (series: Series, stop: number): string => `${along(stop, low.length, width).toFixed(1)} ${up(series[stop]!, band, height).toFixed(1)}`;
      const stops = Array.from({ length: to - from + 1 }, (_, i) => from + i);
      return `M${[...stops.map((s) => point(high, s)), ...stops.reverse().map((s) => point(low, s))].join("L")}Z`;
    })
    .join("");
}
