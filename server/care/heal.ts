import { describeError, type ErrorCode } from '../../core/errors.ts';
import type { Digest } from '../../core/ids.ts';
import { listLinks } from '../db/links.ts';
import type { Run } from '../db/runs.ts';
import type { Site } from '../site.ts';
import { countLost, findHurtImages, type HurtImage } from './lost.ts';
import type { FetchChunks } from './repair-run.ts';

/** Chunks in one run: what a run keeps of its plan stays small, and a second parent may have the rest. */
const MOST_CHUNKS = 2_000;

export type Words = { readonly code: ErrorCode; readonly message: string; readonly hint?: string };

/** What healing came to: how many chunks came back, and what stays missing, with the reason where there is one. */
export type Healing = { readonly healed: number; readonly hurt: readonly HurtImage[]; readonly words: Words | null };

/**
 * Fetches every missing chunk of the published images again, and nothing else, from the parent that publishes them. It
 * goes on as long as that helps: behind a page that came back more may be missing. Nothing that fails is thrown.
 */
export async function healStore(site: Site, fetchChunks: FetchChunks): Promise<Healing> {
  let hurt = await findHurtImages(site);
  let healed = 0;
  let words: Words | null = null;
  for (let isGoing = hurt.length > 0; isGoing; ) {
    const { links, wish } = { links: await listLinks(site.db), wish: wishFor(site, hurt) };
    if (wish.wantChunks.length === 0 || links.length === 0) break;
    isGoing = false;
    for (const link of links) {
      words = wordsOf(await fetchChunks(site, link, wish).catch((error) => describeError(error)));
      const left = await findHurtImages(site);
      const came = countBack(wish.wantChunks, left);
      healed += came;
      hurt = left;
      isGoing ||= came > 0 && left.length > 0;
      if (words === null) break;
    }
  }
  return { healed, hurt, words: hurt.length === 0 ? null : (words ?? nobodyToAsk(site, hurt)) };
}

/** What other servers made can be fetched again; our own images have no parent. */
function wishFor(site: Site, hurt: readonly HurtImage[]): { want: readonly Digest[]; wantChunks: readonly Digest[] } {
  const foreign = hurt.filter(({ image }) => image.origin !== site.self.id);
  const wantChunks = [...new Set(foreign.flatMap(({ digests }) => digests))].slice(0, MOST_CHUNKS);
  const asked = new Set(wantChunks);
  const owners = foreign.filter(({ digests }) => digests.some((digest) => asked.has(digest)));
  return { want: [...new Set(owners.map(({ image }) => image.manifest))], wantChunks };
}

function wordsOf(outcome: Run | Words): Words | null {
  return 'message' in outcome ? outcome : outcome.error;
}

function countBack(asked: readonly Digest[], hurt: readonly HurtImage[]): number {
  const missing = new Set(hurt.flatMap(({ digests }) => digests));
  return asked.filter((digest) => !missing.has(digest)).length;
}

function nobodyToAsk(site: Site, hurt: readonly HurtImage[]): Words {
  const own = hurt.filter(({ image }) => image.origin === site.self.id).length;
  const message =
    own > 0
      ? `${countLost(hurt)} chunk(s) of images that were made here are damaged, and no parent has them`
      : `${countLost(hurt)} chunk(s) are damaged, and this server has no parent to fetch them from`;
  return { code: 'corrupt', message, hint: 'import the same image file again, or load an archive made at a server that has a copy' };
}
