// Colours of labels, those of the figures; more of them by turning the hue.

const PALETTE = [
  ...["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"],
  ...["#7E57C2", "#8A5A2B", "#7A7A7A", "#A8B400"],
  ...["#7FB8D8", "#F2AE80", "#80CFB9", "#E9C3D6", "#F3CF80"],
  ...["#3B6A9C", "#AE9CCD", "#C9AD90", "#A6A6A6", "#7E8420"],
];

export type Color = [number, number, number];

/** Whether the page is dark: by its own switch, or as the system says. */
export function isDark(): boolean {
  const { theme } = document.documentElement.dataset;
  return theme ? theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

/** Colour of a label, as bytes; lighter on a dark page. */
export function colorOf(label: number): Color {
  const color = plainColorOf(label);
  return isDark() ? (color.map((v) => Math.round(v + 0.28 * (255 - v))) as Color) : color;
}

function plainColorOf(label: number): Color {
  if (label < 0) return [128, 128, 128];
  if (label < PALETTE.length) {
    const value = parseInt(PALETTE[label].slice(1), 16);
    return [value >> 16, (value >> 8) & 255, value & 255];
  }
  return turned((label * 137.508) % 360, 0.55, 0.4 + 0.2 * ((label * 0.618) % 1));
}

export const css = (color: Color): string => `rgb(${color.join(" ")})`;

function turned(hue: number, saturation: number, lightness: number): Color {
  const reach = saturation * Math.min(lightness, 1 - lightness);
  const part = (n: number): number => {
    const k = (n + hue / 30) % 12;
    return Math.round(255 * (lightness - reach * Math.max(-1, Math.min(k - 3, 9 - k, 1))));
  };
  return [part(0), part(8), part(4)];
}
