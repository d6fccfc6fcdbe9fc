// The hill of a null, from its quantiles: a smoothed density. Its shape is a picture, the quantiles are the data.

const POINTS = 160, SAMPLES = 400;

/** Pixels from the top of the chart to its baseline, and how high the hill rises above it. */
export const HEIGHT = 132, HILL = 104;

/** Linear interpolation; xs ascend. */
export function interpolate(at, xs, ys) {
  if (at <= xs[0]) return ys[0];
  const k = xs.findIndex(x => x >= at);
  if (k < 0) return ys[ys.length - 1];
  const width = xs[k] - xs[k - 1];
  return width ? ys[k - 1] + (ys[k] - ys[k - 1]) * (at - xs[k - 1]) / width : ys[k];
}

/** Path data in a box of 100 × HEIGHT for the axis from low to high; "" if too few quantiles are known. */
export function hill(shares, values, low, high) {
  const first = values[0], last = values[values.length - 1];
  if (values.length < 3 || last <= first) return '';
  const from = shares[0], to = shares[shares.length - 1];
  const drawn = even(from, to, SAMPLES).map(share => interpolate(share, shares, values));
  const mean = drawn.reduce((sum, x) => sum + x, 0) / SAMPLES;
  const deviation = Math.sqrt(drawn.reduce((sum, x) => sum + (x - mean) ** 2, 0) / SAMPLES);
  const sorted = [...drawn].sort((a, b) => a - b);
  const middle = (sorted[Math.floor(0.75 * SAMPLES)] - sorted[Math.floor(0.25 * SAMPLES)]) / 1.34;
  // Silverman's rule
  const width = 0.9 * (Math.min(deviation, middle) || deviation) * Math.min(values.length, 50) ** -0.2;
  const at = even(Math.max(low, first - 3 * width), Math.min(high, last + 3 * width), POINTS);
  const density = at.map(x => drawn.reduce((sum, y) => sum + Math.exp(-0.5 * ((x - y) / width) ** 2), 0));
  const top = Math.max(...density);
  const across = at.map(x => (100 * (x - low) / (high - low)).toFixed(2));
  const points = density.map((d, k) => `${across[k]},${(HEIGHT - HILL * d / top).toFixed(1)}`);
  return `M${across[0]},${HEIGHT} L${points.join(' ')} L${across[POINTS - 1]},${HEIGHT}Z`;
}

/** Some three to nine round values between low and high. */
export function roundValues(low, high) {
  const rough = (high - low) / 8;
  const size = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map(k => k * size).find(x => x >= rough);
  const found = [];
  for (let k = Math.ceil(low / step); k * step <= high; k++) found.push(k * step);
  return found;
}

const even = (from, to, many) => Array.from({ length: many }, (_, k) => from + (to - from) * k / (many - 1));
