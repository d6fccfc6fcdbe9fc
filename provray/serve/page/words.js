// Numbers, times and verdicts as a person reads them.

const SUPERSCRIPT = { '-': '⁻', 0: '⁰', 1: '¹', 2: '²', 3: '³', 4: '⁴', 5: '⁵', 6: '⁶', 7: '⁷', 8: '⁸', 9: '⁹' };
const GROUPED = new Intl.NumberFormat('en');

/** A finite number, else null. */
export const finite = value => typeof value === 'number' && Number.isFinite(value) ? value : null;

/** A score with two decimals and a true minus sign; an en dash where it was not measured. */
export function number(value) {
  return finite(value) === null ? '–' : value.toFixed(2).replace('-0.00', '0.00').replace('-', '−');
}

/** A probability: `0.032`, `4 × 10⁻⁹`. */
export function small(value) {
  if (finite(value) === null) return '–';
  if (value === 0) return '0';
  if (Math.abs(value) >= 0.0005) return value.toFixed(value < 0.0995 ? 3 : 2);
  const [mantissa, exponent] = value.toExponential(0).split('e');
  const power = `10${[...String(Number(exponent))].map(c => SUPERSCRIPT[c]).join('')}`;
  return mantissa === '1' ? power : `${mantissa} × ${power}`;
}

/** A probability that is never rounded to none or to certainty. */
export function certainty(value) {
  if (finite(value) === null) return '–';
  return value < 0.005 ? '< 0.01' : value > 0.995 ? '> 0.99' : number(value);
}

/** A whole number with its thousands apart. */
export const count = value => GROUPED.format(value);

/** `1 model`, `2 models`. */
export const several = (many, word) => `${count(many)} ${word}${many === 1 ? '' : 's'}`;

/** A size in powers of a thousand: `22.7 M`. */
export function size(value, unit = '') {
  if (!value) return '–';
  const power = Math.min(Math.floor(Math.log10(value) / 3), 4);
  const shown = power ? (value / 1000 ** power).toPrecision(3) : String(value);
  return `${shown} ${['', 'k', 'M', unit ? 'G' : 'B', 'T'][power]}${unit}`.trim();
}

/** A time in UTC, to the minute. */
export const when = text => text ? `${text.slice(0, 10)} ${text.slice(11, 16)} UTC` : '–';

/** With a capital letter in front. */
export const sentence = text => text ? text[0].toUpperCase() + text.slice(1) : '';

/** Which of the two came first, as a sentence. */
export function cameFirst(direction) {
  if (direction?.said === 'ancestor') return 'The indexed model came first.';
  if (direction?.said === 'descendant') return 'The model asked about came first.';
  return 'Which of the two came first is not shown.';
}
