// What is drawn over the points: names of labels, the code that is shown, and the path of a morph.

import type { Viewport } from "./camera";

export interface Overlay {
  names: { text: string; x: number; y: number; color: string }[];
  path: [number, number][];
  picks: [number, number][];
  kept: [number, number] | null;
  shown: [number, number] | null;
}

export interface Ink {
  text: string;
  halo: string;
  accent: string;
}

export function drawOverlay(canvas: HTMLCanvasElement, viewport: Viewport, overlay: Overlay, ink: Ink): void {
  const context = canvas.getContext("2d")!;
  const ratio = canvas.width / viewport.width;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, viewport.width, viewport.height);
  drawPath(context, viewport, overlay, ink);
  drawNames(context, viewport, overlay, ink);
  if (overlay.kept) cross(context, viewport.toScreen(...overlay.kept), ink);
  if (overlay.shown) ring(context, viewport.toScreen(...overlay.shown), 9, ink);
}

function drawPath(context: CanvasRenderingContext2D, viewport: Viewport, overlay: Overlay, ink: Ink): void {
  const line = overlay.path.map(([x, y]) => viewport.toScreen(x, y));
  if (line.length > 1)
    for (const [color, width] of [[ink.halo, 5], [ink.text, 2]] as const) {
      context.beginPath();
      line.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
      Object.assign(context, { strokeStyle: color, lineWidth: width, lineJoin: "round", lineCap: "round" });
      context.stroke();
    }
  overlay.picks.forEach(([x, y], i) => {
    const [sx, sy] = viewport.toScreen(x, y);
    context.beginPath();
    context.arc(sx, sy, 9, 0, 2 * Math.PI);
    context.fillStyle = ink.text;
    context.fill();
    Object.assign(context, { strokeStyle: ink.halo, lineWidth: 1.5, fillStyle: ink.halo });
    context.stroke();
    write(context, String(i + 1), sx, sy + 0.5, "600 11px system-ui, sans-serif");
  });
}

function drawNames(context: CanvasRenderingContext2D, viewport: Viewport, overlay: Overlay, ink: Ink): void {
  const font = "700 15px system-ui, sans-serif";
  const taken: [number, number, number][] = [];
  for (const { text, x, y, color } of overlay.names) {
    const [sx, sy] = viewport.toScreen(x, y);
    context.font = font;
    const half = context.measureText(text).width / 2 + 4;
    const clear = taken.every(([tx, ty, th]) => Math.abs(tx - sx) > half + th || Math.abs(ty - sy) > 18);
    if (!clear || sx < half || sy < 10 || sx > viewport.width - half || sy > viewport.height - 10) continue;
    taken.push([sx, sy, half]);
    Object.assign(context, { strokeStyle: ink.halo, lineWidth: 4, lineJoin: "round", textAlign: "center" });
    context.textBaseline = "middle";
    context.strokeText(text, sx, sy);
    context.fillStyle = color;
    write(context, text, sx, sy, font);
  }
}

function write(context: CanvasRenderingContext2D, text: string, x: number, y: number, font: string): void {
  Object.assign(context, { font, textAlign: "center", textBaseline: "middle" });
  context.fillText(text, x, y);
}

function ring(context: CanvasRenderingContext2D, [x, y]: [number, number], radius: number, ink: Ink): void {
  for (const [color, width] of [[ink.halo, 5], [ink.accent, 2.5]] as const) {
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    Object.assign(context, { strokeStyle: color, lineWidth: width });
    context.stroke();
  }
}

function cross(context: CanvasRenderingContext2D, [x, y]: [number, number], ink: Ink): void {
  for (const [color, width] of [[ink.halo, 5], [ink.text, 2]] as const) {
    context.beginPath();
    for (const [dx, dy] of [[1, 0], [0, 1]]) {
      context.moveTo(x - 10 * dx, y - 10 * dy);
      context.lineTo(x + 10 * dx, y + 10 * dy);
    }
    Object.assign(context, { strokeStyle: color, lineWidth: width, lineCap: "round" });
    context.stroke();
  }
}
