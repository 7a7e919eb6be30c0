import { readFile, writeFile } from 'node:fs/promises';

/** Where a page keeps the figures of one command: between two comments of its own. */
export type Place = { readonly begin: string; readonly end: string };

/** Puts figures in the place of those of before; the rest of the page stays. Throws when the page has no such place. */
export async function replaceFigures(page: URL, { begin, end }: Place, figures: string): Promise<void> {
  const old = await readFile(page, 'utf8');
  const from = old.indexOf(begin);
  const to = old.indexOf(end);
  if (from < 0 || to < from) throw new Error(`${page.pathname} has no place for figures (${begin})`);
  await writeFile(page, `${old.slice(0, from + begin.length)}\n\n${figures}\n\n${old.slice(to)}`);
}
