import { readdir } from "node:fs/promises";
import { basename, extname } from "node:path";

/** A worker as `wrangler deploy --dry-run --outdir` leaves it. */
export interface Bundle {
  directory: string;
  /** The file of the main module. */
  main: string;
  /** The files of the other modules, named as the main module imports them. */
  modules: string[];
}

const moduleKinds: Record<string, string> = {
  ".js": "esModule",
  ".mjs": "esModule",
  ".wasm": "wasm",
  ".txt": "text",
  ".html": "text",
  ".bin": "data",
};

/** The field of workerd's Module for a file, by its extension. */
export function moduleKind(file: string): string | undefined {
  return moduleKinds[extname(file)];
}

/** Finds the modules in a bundle directory; `entry` is wrangler.toml's `main`, where there is one. */
export async function readBundle(directory: string, entry: string | undefined): Promise<Bundle> {
  const files = await readdir(directory).catch(() => {
    throw new Error(
      `read worker bundle ${directory}: no such directory, make it with wrangler deploy --dry-run --outdir`,
    );
  });
  const scripts = files.filter((file) => moduleKind(file) === "esModule");
  const named = entry && `${basename(entry, extname(entry))}.js`;
  const main = scripts.find((file) => file === named) ?? (scripts.length === 1 ? scripts[0] : "index.js");
  if (!main || !scripts.includes(main)) {
    throw new Error(
      `read worker bundle ${directory}: cannot tell the main module among ${scripts.join(", ") || "no .js file"}`,
    );
  }
  return { directory, main, modules: files.filter((file) => moduleKind(file) && file !== main) };
}
