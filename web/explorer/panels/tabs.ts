// The panels of the sidebar, of which one is open.

import { make } from "../shared/dom";
import type { Panel } from "./context";

export interface Tabs {
  element: HTMLElement;
  open(title: string): void;
}

export function tabs(panels: Panel[]): Tabs {
  const buttons = panels.map(({ title }, i) =>
    make("button", { role: "tab", id: `tab${i}`, "aria-controls": "panel", click: () => show(i) }, title),
  );
  const bar = make("div", { class: "tabs", role: "tablist" }, ...buttons);
  const body = make("div", { class: "body", id: "panel", role: "tabpanel" });
  const show = (chosen: number): void => {
    buttons.forEach((button, i) => {
      button.setAttribute("aria-selected", String(i === chosen));
      button.tabIndex = i === chosen ? 0 : -1;
    });
    body.setAttribute("aria-labelledby", `tab${chosen}`);
    body.replaceChildren(panels[chosen].element);
    panels[chosen].opened?.();
  };
  bar.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const at = buttons.indexOf(document.activeElement as HTMLButtonElement);
    const next = (at + step + buttons.length) % buttons.length;
    show(next);
    buttons[next].focus();
  });
  show(0);
  const open = (title: string): void => {
    const index = panels.findIndex((panel) => panel.title === title);
    if (index >= 0) show(index);
  };
  return { element: make("section", { class: "panels" }, bar, body), open };
}
