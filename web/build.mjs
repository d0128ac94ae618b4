// Bundles each page into one HTML file inside the Python package: node build.mjs [--out FOLDER] [PAGE ...]
//
// web/PAGE/page.html holds the marks <!-- style --> and <!-- script -->, which are replaced by web/PAGE/page.css and
// by web/PAGE/main.ts with what that imports. <!-- hash of script --> and <!-- hash of style --> are for the policy of a
// page that is opened as a file. --out writes PAGE.html into a folder instead, to be compared.
import { createHash } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const pages = {
  annotate: "../src/elboroom/annotation/page.html",
  explorer: "../src/elboroom/explorer/page.html",
};

async function bundled(entry) {
  const result = await build({
    entryPoints: [entry],
    bundle: true,
    minify: true,
    write: false,
    format: "iife",
    target: ["es2022", "chrome100", "firefox100", "safari15.4"],
    legalComments: "inline",
    charset: "ascii",
    loader: { ".svg": "text" },
    absWorkingDir: here,
  });
  return result.outputFiles[0].text.trim();
}

function put(html, mark, tag, text) {
  if (html.split(mark).length !== 2) throw new Error(`page.html must contain ${mark} once`);
  if (text.toLowerCase().includes(`</${tag}`)) throw new Error(`the ${tag} would end early`);
  const hash = `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
  return html.replace(mark, () => `<${tag}>${text}</${tag}>`).replace(`<!-- hash of ${tag} -->`, hash);
}

async function page(name) {
  let html = await readFile(join(here, name, "page.html"), "utf8");
  html = put(html, "<!-- style -->", "style", await bundled(join(here, name, "page.css")));
  return put(html, "<!-- script -->", "script", await bundled(join(here, name, "main.ts")));
}

const words = process.argv.slice(2);
const at = words.indexOf("--out");
const out = at < 0 ? null : words.splice(at, 2)[1];
for (const name of words.length ? words : Object.keys(pages)) {
  if (!(name in pages)) throw new Error(`no page ${name}; there are ${Object.keys(pages).join(", ")}`);
  const target = out ? join(out, `${name}.html`) : join(here, pages[name]);
  const text = await page(name);
  await mkdir(dirname(target), { recursive: true });
  await writeFile(target, text);
  console.log(`${target}: ${(Buffer.byteLength(text) / 1000).toFixed(1)} kB`);
}
