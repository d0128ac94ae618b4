// The full model behind a page that `elboroom explore` serves, for what the page cannot run itself.

/** Ask the server of this page; its addresses are relative to the page's own. */
export async function ask(route: "decode" | "encode" | "standard" | "placed", content: object): Promise<Float32Array> {
  const answer = await fetch(route, { method: "POST", body: JSON.stringify(content) });
  if (!answer.ok) throw new Error(`the model answered with status ${answer.status}`);
  return new Float32Array(await answer.arrayBuffer());
}

/** Does one thing after another, and of those that wait only the last. */
export function latest(work: () => Promise<void> | void): () => void {
  let [busy, again] = [false, false];
  const run = async (): Promise<void> => {
    if (busy) {
      again = true;
      return;
    }
    busy = true;
    try {
      do {
        again = false;
        await work();
      } while (again);
    } finally {
      busy = false;
    }
  };
  return () => void run();
}
