// Numbers as they are written.

const MINUS = "\u2212";

/** A number with about three significant digits and a real minus sign. */
export function short(value: number, digits = 3): string {
  if (!Number.isFinite(value)) return String(value);
  const size = Math.abs(value);
  let text: string;
  if (size !== 0 && (size < 1e-3 || size >= 1e6)) text = size.toExponential(Math.max(0, digits - 2));
  else if (size >= 10 ** digits) text = Math.round(size).toLocaleString("en-US");
  else text = size.toFixed(Math.max(0, digits - 1 - Math.floor(Math.log10(Math.max(size, 0.1)))));
  return value < 0 && Number(text.replaceAll(",", "")) !== 0 ? MINUS + text : text;
}

/** A number with two decimals, for what moves. */
export const fixed = (value: number): string => {
  const text = Math.abs(value).toFixed(2);
  return value < 0 && Number(text) !== 0 ? MINUS + text : text;
};

/** A whole number with separators. */
export const whole = (value: number): string => value.toLocaleString("en-US");

/** A name of Python in words: learning_rate → learning rate. */
export const words = (name: string): string => name.replaceAll("_", " ");
