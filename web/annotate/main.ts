// Mark the eyes, nose and mouth of photos: which photo is shown, its marks, and what buttons and keys do.
import { getState, type Part, type Photo, type Point, type Points, type State } from "./api";
import { onKeys } from "./keys";
import { Pictures } from "./pictures";
import { listen } from "./pointing";
import { Preview } from "./preview";
import { Saving } from "./saving";
import { COLOURS, View } from "./view";

const NAMES: Record<Part, string> = { left_eye: "left eye", right_eye: "right eye", nose: "nose", mouth: "mouth" };

const find = <T extends HTMLElement>(id: string) => document.getElementById(id) as T;
const button = (id: string) => find<HTMLButtonElement>(id);
const view = new View(find<HTMLCanvasElement>("canvas"));
const longest = Math.max(screen.width, screen.height) * (window.devicePixelRatio || 1);
const pictures = new Pictures(longest > 2100 ? 4096 : longest > 1100 ? 2048 : 1024);
const auto = find<HTMLInputElement>("auto");
const loupe = find<HTMLInputElement>("loupe");
const position = find<HTMLInputElement>("position");

let state: State;
let current = 0; // place in state.photos
let points: Points = {};
let history: Points[] = []; // of the shown photo's marks, before each change
let changed = false;
let failure = ""; // why the shown photo cannot be seen
const drafts = new Map<number, Points>(); // marks too few to be saved
const visited: { photo: Photo; skipped: boolean }[] = [];
const face = new Preview(find<HTMLImageElement>("crop"), find("crop-note"));
const saving = new Saving(saved, notSaved);

const shown = () => state.photos[current]!;
const hasEyes = () => Boolean(points.left_eye && points.right_eye);
const wanted = () => state.parts.find((part) => !points[part]);

async function show(place: number): Promise<void> {
  current = place;
  const photo = shown();
  points = { ...(drafts.get(photo.id) ?? photo.points) };
  history = [];
  changed = drafts.has(photo.id);
  failure = "";
  face.none("");
  view.show(null, points);
  refresh();
  try {
    const picture = await pictures.get(photo.id);
    if (shown() !== photo) return;
    view.show(picture, points);
    ahead();
  } catch (error) {
    if (shown() !== photo) return;
    failure = error instanceof Error ? error.message : String(error);
    ahead();
  }
  refresh();
  void preview();
}

/** Fetch what will be shown next, and keep what was shown last. */
function ahead(): void {
  const near = [current, nextToDo() ?? current, current + 1, current - 1];
  pictures.keep([...new Set(near.flatMap((place) => state.photos[place]?.id ?? []))]);
}

/** The next photo without marks after the shown one, from the start again at the end. */
function nextToDo(): number | null {
  const count = state.photos.length;
  for (let k = 1; k < count; k++) {
    const place = (current + k) % count;
    if (state.photos[place]!.status === "todo" && !unusable.has(state.photos[place]!.id)) return place;
  }
  return null;
}
const unusable = new Set<number>(); // photos that were passed because they cannot be seen

function change(next: Points): void {
  history.push(points);
  points = next;
  changed = true;
  touched();
}

function touched(): void {
  view.points = points;
  view.draw();
  refresh();
  void preview();
}

async function place(point: Point): Promise<void> {
  const part = wanted();
  if (failure || !view.picture) return;
  if (!part) return say("All parts are marked: drag a mark to move it, or press Enter.");
  const photo = shown();
  change({ ...points, [part]: point });
  if (!auto.checked || wanted()) return;
  if ((await preview()) && shown() === photo && !wanted()) next(); // stays where the face cannot be cut
}

function undo(): void {
  const before = history.pop();
  if (before) {
    points = before;
    changed = true;
    return touched();
  }
  const last = [...state.parts].reverse().find((part) => points[part]);
  if (last) {
    const { [last]: _, ...rest } = points;
    points = rest;
    changed = true;
    return touched();
  }
  const back = visited.pop();
  if (!back) return say("Nothing to undo.");
  leave();
  if (back.skipped && back.photo.status === "skipped") store(back.photo, null);
  void show(state.photos.indexOf(back.photo));
}

function store(photo: Photo, marks: Points | null): void {
  photo.status = marks === null ? "todo" : marks.left_eye ? "marked" : "skipped";
  photo.points = marks ?? {};
  drafts.delete(photo.id);
  saving.add(photo.id, marks);
}

/** Keep the marks of the shown photo before another is shown. */
function leave(): void {
  if (!changed) return;
  const photo = shown();
  changed = false;
  if (hasEyes()) return store(photo, points);
  if (photo.status === "marked") store(photo, null);
  if (Object.keys(points).length) drafts.set(photo.id, points);
  else drafts.delete(photo.id);
}

function next(): void {
  const photo = shown();
  if (failure) unusable.add(photo.id);
  else if (!hasEyes() && photo.status !== "skipped") return say("Mark both eyes, or skip the photo.");
  visited.push({ photo, skipped: false });
  goOn();
}

function skip(): void {
  const photo = shown();
  visited.push({ photo, skipped: true });
  changed = false;
  store(photo, {});
  goOn();
}

function goOn(): void {
  leave();
  const place = nextToDo();
  if (place !== null) return void show(place);
  void show(current);
}

function step(by: number): void {
  const place = current + by;
  if (place < 0 || place >= state.photos.length) return;
  leave();
  void show(place);
}

function swap(): void {
  const { left_eye, right_eye, ...rest } = points;
  if (left_eye && right_eye) change({ left_eye: right_eye, right_eye: left_eye, ...rest });
}

/** Move the last mark by as much as one pixel of the screen. */
function nudge(x: number, y: number): void {
  const last = [...state.parts].reverse().find((part) => points[part]);
  if (!last) return;
  const [u, v] = points[last]!;
  change({ ...points, [last]: view.clamp([u + x * view.step, v + y * view.step]) });
}

/** Bring the cut-out face up to date, and say whether there is one. */
async function preview(): Promise<boolean> {
  if (hasEyes() && !failure) return face.update(shown().id, points, () => state.template);
  face.none(failure ? "" : "The cut-out face appears here after both eyes.");
  return false;
}

function saved(answer: Photo & { template: string }): void {
  state.template = answer.template;
  const photo = state.photos.find((one) => one.id === answer.id)!;
  photo.note = answer.note;
  if (answer.status === "marked" && answer.note) alert(`${photo.name} will be left out: it ${answer.note}.`, false);
  else if (!saving.pending) alert(null, false);
  refresh();
}

function notSaved(id: number, reason: string, refused: boolean): void {
  const photo = state.photos.find((one) => one.id === id)!;
  if (refused) photo.status = "todo";
  alert(`${photo.name} is not saved: ${reason}`, !refused);
  refresh();
}

function alert(text: string | null, again: boolean): void {
  const box = find("alert");
  if (text === null && button("retry").hidden) return; // a message that retrying does not settle stays
  box.hidden = text === null;
  button("retry").hidden = !again;
  find("alert-text").textContent = text ?? "";
}

let quiet: number | undefined;
function say(text: string): void {
  const message = find("message");
  message.textContent = text;
  message.hidden = false;
  clearTimeout(quiet);
  quiet = window.setTimeout(refresh, 2500);
}

/** Bring everything but the canvas up to date. */
function refresh(): void {
  clearTimeout(quiet);
  const photo = shown();
  const count = (status: string) => state.photos.filter((one) => one.status === status).length;
  find("name").textContent = photo.name;
  document.title = `${photo.name} – mark faces`;
  const [marked, skipped] = [count("marked"), count("skipped")];
  find("status").textContent =
    `${marked} of ${state.photos.length} marked` + (skipped ? `, ${skipped} skipped` : "");
  find("place").textContent = `photo ${current + 1} of ${state.photos.length}`;
  position.value = String(current + 1);
  const part = wanted();
  for (const item of find("parts").children) {
    const own = item.getAttribute("data-part") as Part;
    item.classList.toggle("set", Boolean(points[own]));
    item.classList.toggle("current", own === part && !failure);
    if (own === part) item.setAttribute("aria-current", "step");
    else item.removeAttribute("aria-current");
  }
  view.aimColour = part ? COLOURS[part] : "#fff";
  const message = find("message");
  message.textContent = sentence(photo, marked + skipped === state.photos.length);
  message.hidden = !message.textContent;
  button("previous").disabled = current === 0;
  button("following").disabled = current === state.photos.length - 1;
  button("swap").disabled = !hasEyes();
  button("next").disabled = !failure && !hasEyes() && photo.status !== "skipped";
}

function sentence(photo: Photo, done: boolean): string {
  if (failure) return `This photo ${failure}.`;
  if (!view.picture) return "Loading …";
  if (done && !changed && saving.pending) return "Saving …";
  if (done && !changed) return `All photos are done. The marks are in ${state.file}; press Ctrl-C in the terminal to end.`;
  if (photo.status === "skipped" && !Object.keys(points).length) return "Skipped: this photo will be left out.";
  if (photo.note && !changed) return photo.status === "marked" ? `Will be left out: it ${photo.note}.` : `Note: ${photo.note}`;
  return "";
}

function wire(): void {
  for (const part of state.parts) {
    const item = document.createElement("li");
    item.textContent = NAMES[part];
    item.setAttribute("data-part", part);
    item.style.setProperty("--part", COLOURS[part]);
    find("parts").append(item);
  }
  const clicks: Record<string, () => void> = {
    previous: () => step(-1), following: () => step(1), undo, swap, skip, next,
    retry: () => saving.retry(),
    dismiss: () => void (find("alert").hidden = true),
  };
  for (const [id, act] of Object.entries(clicks)) {
    button(id).addEventListener("click", () => {
      act();
      view.canvas.focus({ preventScroll: true }); // so that Space does not press the button again
    });
  }
  position.max = String(state.photos.length);
  position.addEventListener("input", () => step(Number(position.value) - 1 - current));
  for (const box of [auto, loupe]) box.addEventListener("change", () => view.canvas.focus({ preventScroll: true }));
  onKeys(
    {
      enter: next, " ": next, backspace: undo, z: undo, s: skip, x: swap,
      arrowleft: () => step(-1), arrowright: () => step(1),
      "+": () => view.zoom(1.5), "=": () => view.zoom(1.5), "-": () => view.zoom(1 / 1.5), "0": () => view.fit(),
      a: () => auto.click(), l: () => loupe.click(),
    },
    nudge,
  );
  const help = document.querySelector("details")!;
  help.addEventListener("toggle", () => help.scrollIntoView({ block: "nearest" }));
  window.addEventListener("beforeunload", (event) => {
    leave();
    if (saving.pending) event.preventDefault();
  });
  listen(view, {
    place,
    drag(part, point, first) {
      if (first) history.push(points);
      points = { ...points, [part]: point };
      changed = true;
      view.points = points;
      view.draw();
    },
    dropped: touched,
    magnifies: () => loupe.checked && !failure,
  });
}

async function start(): Promise<void> {
  try {
    state = await getState();
  } catch (error) {
    return alert(`The photos cannot be listed: ${error instanceof Error ? error.message : error}`, false);
  }
  if (!state.photos.length) return alert("The folder contains no photos any more.", false);
  wire();
  if (state.unread.length) {
    const [name, reason] = state.unread[0]!;
    const more = state.unread.length > 1 ? ` and ${state.unread.length - 1} more` : "";
    alert(`Not shown: ${name} ${reason}${more}`, false);
  }
  view.canvas.focus({ preventScroll: true });
  const first = state.photos.findIndex((photo) => photo.status === "todo");
  await show(Math.max(0, first));
}

void start();
