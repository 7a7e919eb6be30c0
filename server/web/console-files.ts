import { readFile } from 'node:fs/promises';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';

const squeeze = promisify(gzip);

/** Where script/build-console.ts puts the console (not committed). */
const DIST = fileURLToPath(new URL('../../web/dist/', import.meta.url));

/** What the build makes: names without a folder, and `assets/`, whose names change with what is in them. Nothing else is looked for. */
const NAME = /^(?:assets\/)?[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)+$/;
const TYPES: { readonly [extension: string]: string } = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.woff2': 'font/woff2',
  '.txt': 'text/plain; charset=utf-8',
};

export type ConsoleFile = {
  readonly type: string;
  readonly octets: Buffer;
  readonly isSqueezed: boolean;
  /** The name changes with the content. */
  readonly isLasting: boolean;
};

export type ConsoleFiles = {
  /** A file of the built console, gzip when the reader takes it; undefined for what is not there. */
  read(name: string, takesGzip: boolean): Promise<ConsoleFile | undefined>;
};

/** The files of the console. Those that last are kept in memory (about 1 MB), squeezed once. */
export function openConsoleFiles(directory = DIST): ConsoleFiles {
  const kept = new Map<string, ConsoleFile>();
  return {
    read: async (name, takesGzip) => {
      const type = TYPES[extname(name)];
      if (type === undefined || !NAME.test(name)) return undefined;
      const key = `${takesGzip} ${name}`;
      const known = kept.get(key);
      if (known !== undefined) return known;
      const file = await load(directory + name, { type, takesGzip, isLasting: name.startsWith('assets/') });
      if (file?.isLasting) kept.set(key, file);
      return file;
    },
  };
}

type Wish = { readonly type: string; readonly takesGzip: boolean; readonly isLasting: boolean };

async function load(path: string, { type, takesGzip, isLasting }: Wish): Promise<ConsoleFile | undefined> {
  try {
    const octets = await readFile(path);
    const isSqueezed = takesGzip && type !== 'font/woff2';
    return { type, isSqueezed, isLasting, octets: isSqueezed ? await squeeze(octets) : octets };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
