// The path of a morph, as src/elboroom/latent/paths.py makes it.

import type { View } from "../shared/store";

/** Codes on the straight line from a to b, both included; evenly spaced. */
export function straight(a: Float32Array, b: Float32Array, steps: number): Float32Array[] {
  return Array.from({ length: steps }, (_, k) => {
    const t = k / (steps - 1);
    return a.map((v, i) => (k === 0 ? v : k === steps - 1 ? b[i] : v + t * (b[i] - v)));
  });
}

/** Codes from a to b whose direction turns and whose length changes evenly (arXiv:1609.04468). */
export function spherical(a: Float32Array, b: Float32Array, steps: number): Float32Array[] {
  const [from, to] = [Math.hypot(...a), Math.hypot(...b)];
  if (a.length === 1 || from === 0 || to === 0) return straight(a, b, steps);
  const u = Array.from(a, (v) => v / from);
  const v = Array.from(b, (w) => w / to);
  const along = u.reduce((sum, each, i) => sum + each * v[i], 0);
  let aside = v.map((each, i) => each - along * u[i]);
  let length = Math.hypot(...aside);
  const angle = Math.atan2(length, along);
  if (length < 1e-7) {
    const least = u.reduce((best, each, i) => (Math.abs(each) < Math.abs(u[best]) ? i : best), 0);
    aside = u.map((each, i) => (i === least ? 1 : 0) - u[least] * each);
    length = Math.hypot(...aside);
  }
  return Array.from({ length: steps }, (_, k) => {
    if (k === 0) return a;
    if (k === steps - 1) return b;
    const t = k / (steps - 1);
    const norm = from + t * (to - from);
    const [c, s] = [Math.cos(t * angle), Math.sin(t * angle) / length];
    return Float32Array.from(u, (each, i) => norm * (c * each + s * aside[i]));
  });
}

/** All frames of a morph through several views. Where two parts meet, their common frame comes once. */
export function framesThrough(views: View[], steps: number, round: boolean): View[] {
  const frames: View[] = [];
  for (let part = 0; part + 1 < views.length; part++) {
    const [start, end] = [views[part], views[part + 1]];
    const codes = (round ? spherical : straight)(start.code, end.code, steps);
    const conditions =
      start.condition && end.condition ? straight(start.condition, end.condition, steps) : null;
    codes.forEach((code, k) => {
      if (part > 0 && k === 0) return;
      const condition = conditions ? conditions[k] : start.condition;
      const origin = `morph, ${Math.round((100 * k) / (steps - 1))} % from ${start.origin} to ${end.origin}`;
      frames.push({ code, condition, point: null, origin });
    });
  }
  return frames;
}
