// Builds the page: `node build.mjs FILE` bundles the sources into one HTML template, which Python fills.
import { createHash } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = (name) => fileURLToPath(new URL(name, import.meta.url));

async function bundle(entry) {
  const options = { entryPoints: [here(entry)], bundle: true, minify: true, write: false, charset: "ascii" };
  const found = await build({ ...options, target: ["es2022"], legalComments: "none" });
  // Nothing inside may end the element that it is put into.
  return found.outputFiles[0].text.trim().replaceAll("</script", "<\\/script");
}

const hash = (text) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;

const script = await bundle("src/main.ts");
const style = await bundle("src/style.css");
const policy = [
  "default-src 'none'",
  `script-src ${hash(script)}`,
  `style-src ${hash(style)}`,
  "img-src blob: data:",
  "connect-src 'none'",
  "base-uri 'none'",
  "form-action 'none'",
].join("; ");
const template = await readFile(here("src/page.html"), "utf8");
const parts = { "<!--POLICY-->": policy, "<!--STYLE-->": style, "<!--SCRIPT-->": script };
const page = Object.entries(parts).reduce((text, [place, part]) => text.replace(place, () => part), template);
await writeFile(process.argv[2], page);
