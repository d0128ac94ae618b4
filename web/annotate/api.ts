// What the page asks of the program that serves it. Addresses are relative, and so hold the token.

export type Part = "left_eye" | "right_eye" | "nose" | "mouth";
export type Point = [number, number];
export type Points = Partial<Record<Part, Point>>;
export type Status = "todo" | "marked" | "skipped";

export interface Photo {
  id: number;
  name: string;
  status: Status;
  note: string | null;
  points: Points;
}

export interface State {
  folder: string;
  file: string;
  template: string;
  parts: Part[];
  unread: [string, string][];
  photos: Photo[];
}

/** An upright photo: its pixels, perhaps fewer than it has, and its full size. */
export interface Picture {
  bitmap: ImageBitmap;
  width: number;
  height: number;
}

/** The program answered that something is wrong. `refused` says that asking again will not help. */
export class ApiError extends Error {
  constructor(message: string, readonly refused: boolean) {
    super(message);
  }
}

async function ask(path: string, init?: RequestInit): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(path, init);
  } catch (error) {
    if (init?.signal?.aborted) throw error;
    throw new ApiError("the program does not answer; start it again and open the address that it prints", false);
  }
  if (response.ok) return response;
  const answer = (await response.json().catch(() => null)) as { error?: string } | null;
  throw new ApiError(answer?.error ?? `status ${response.status}`, response.status < 500);
}

function post(path: string, tree: unknown, signal?: AbortSignal): Promise<Response> {
  const headers = { "Content-Type": "application/json" };
  return ask(path, { method: "POST", headers, body: JSON.stringify(tree), signal });
}

export async function getState(): Promise<State> {
  return (await ask("state")).json();
}

/** The answer to a question that has one: a size, a face; or the reason why there is none. */
async function orProblem<T>(response: Response): Promise<T> {
  const tree = (await response.json()) as T | { problem: string };
  if (tree instanceof Object && "problem" in tree) throw new ApiError(tree.problem, true);
  return tree as T;
}

export async function getPicture(photo: number, side: number): Promise<Picture> {
  const [width, height] = await orProblem<Point>(await ask(`size?photo=${photo}`));
  const response = await ask(`photo?photo=${photo}&side=${side}`);
  return { bitmap: await createImageBitmap(await response.blob()), width, height };
}

export async function getCrop(photo: number, points: Points, signal: AbortSignal): Promise<Blob> {
  const response = await post("crop", { photo, points }, signal);
  return response.headers.get("Content-Type") === "image/png" ? response.blob() : orProblem<Blob>(response);
}

/** Save marks: none leaves the photo out, null makes it one that is still to be marked. */
export async function save(photo: number, points: Points | null): Promise<Photo & { template: string }> {
  return (await post("save", { photo, points })).json();
}
