import type { Client } from './client.ts';

/** The most that a list gives at once. */
const LIMIT = 1000;

/** All items of a list that is given in pages (`after`), one page after the other. */
export async function readPages<Item>(client: Client, path: string): Promise<Item[]> {
  const items: Item[] = [];
  for (let after: string | null = ''; after !== null; ) {
    const page: { items: Item[]; next: string | null } = await client.get(
      `${path}?limit=${LIMIT}${after === '' ? '' : `&after=${encodeURIComponent(after)}`}`,
    );
    items.push(...page.items);
    after = page.next;
  }
  return items;
}
