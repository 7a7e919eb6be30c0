import type { Command } from 'commander';
import type { Json } from '../../core/canonical-json.ts';
import type { Frame } from '../frame.ts';
import { formatBytes, table } from '../output.ts';

type OfferView = {
  readonly id: string;
  readonly reference: string;
  readonly server: string;
  readonly state: string;
  readonly words: string | null;
  readonly usedBytes: number;
  readonly progress: { readonly stage: string; readonly percent: number } | null;
};

/** Images of a branch for everybody: verbs of `waystation image`. They need a running server. */
export function registerOffers(image: Command, frame: Frame): void {
  image
    .command('offer <ref>')
    .description('at a branch: offer an image that was made here to the servers above')
    .action(async (reference: string) => {
      const client = await frame.connect();
      const offer = await client.post<OfferView>(`/api/v1/images/${encodeURIComponent(reference)}/offer`);
      frame.print(offer as unknown as Json, `${offer.reference} is ${offer.state}`);
    });
  image
    .command('offers')
    .description('images that this server offers, and that servers below offer to it')
    .action(() => list(frame));
  image
    .command('approve <offer>')
    .description('fetch an offered image, NAME@VERSION or id, and give it to all children')
    .action((reference: string) => decide(frame, reference, 'approve', {}));
  image
    .command('refuse <offer>')
    .description('turn an offered image down')
    .option('--words <text>', 'why, for the branch')
    .action((reference: string, options: { words?: string }) => decide(frame, reference, 'refuse', { words: options.words ?? null }));
}

async function list(frame: Frame): Promise<void> {
  const client = await frame.connect();
  const { items } = await client.get<{ items: OfferView[] }>('/api/v1/offers');
  frame.print({ items, next: null } as unknown as Json, () =>
    table(
      ['IMAGE', 'SERVER', 'STATE', 'SIZE', '', 'ID'],
      items.map(({ reference, server, state, usedBytes, progress, words, id }) => [
        reference,
        server,
        state,
        formatBytes(usedBytes),
        words ?? (progress === null ? '' : `${progress.stage} ${progress.percent} %`),
        id,
      ]),
    ),
  );
}

async function decide(frame: Frame, reference: string, verb: 'approve' | 'refuse', body: Record<string, Json>): Promise<void> {
  const client = await frame.connect();
  const offer = await client.post<OfferView>(`/api/v1/offers/${encodeURIComponent(reference)}/${verb}`, body);
  frame.print(offer as unknown as Json, `${offer.reference} of server ${offer.server} is ${offer.state}`);
}
