import type { Envelope } from '../../core/envelope.ts';
import { AppError } from '../../core/errors.ts';
import { OUR_PROTOCOLS } from '../../core/negotiate.ts';
import { Catalogue } from '../../core/sync-protocol.ts';
import type { VerifiedCatalogue } from '../../sync/replicate/ports.ts';
import type { Link } from '../db/links.ts';
import type { KnownServer } from '../db/servers.ts';
import type { Site } from '../site.ts';
import { verifyCatalogueHead, verifyEnvelope } from '../trust/signatures.ts';
import { trustedSigner } from '../trust/trusted-signer.ts';

/**
 * Checks a parent's answer before anything of it counts: protocol, head, time, order, and every object against the
 * signer of its own origin. Objects that we made ourselves come back from a parent as they left and are dropped.
 *
 * Throws `version_mismatch`, `bad_signature`, `expired`, and `mismatch` for a catalogue older than the one we hold
 * (a replay, or a parent restored from a backup without a new epoch).
 */
export async function verifyCatalogue(site: Site, from: { parent: KnownServer; link: Link }, answer: unknown): Promise<VerifiedCatalogue> {
  const catalogue = parse(answer);
  const { head } = catalogue;
  verifyCatalogueHead(catalogue, await trustedSigner(site, catalogue, { keyId: catalogue.keyId, serverId: from.parent.id }));
  checkAge(head, site.now());
  checkOrder(head, from.link);
  const objects: Envelope[] = [];
  for (const object of catalogue.objects as unknown as Envelope[]) {
    if (object.origin === site.self.id) continue;
    verifyEnvelope(object, await trustedSigner(site, catalogue, { keyId: object.keyId, serverId: object.origin }));
    objects.push(object);
  }
  return { epoch: head.epoch, generation: head.generation, objects };
}

function parse(answer: unknown): Catalogue {
  const protocol = (answer as { protocol?: unknown } | null)?.protocol;
  const parsed = Catalogue.safeParse(answer);
  const { oldest, newest } = OUR_PROTOCOLS;
  if (parsed.success && parsed.data.protocol >= oldest && parsed.data.protocol <= newest) return parsed.data;
  const what = typeof protocol === 'number' ? `protocol ${protocol}` : 'something that is no catalogue';
  throw new AppError('version_mismatch', `the parent speaks ${what}, this server protocol ${newest}`, {
    hint: 'upgrade the older of the two servers',
  });
}

function checkAge(head: Catalogue['head'], now: number): void {
  if (now <= head.expiresAt) return;
  throw new AppError('expired', `the parent's catalogue expired at ${new Date(head.expiresAt).toISOString()}`, {
    hint: 'check the clocks of both servers',
  });
}

function checkOrder(head: Catalogue['head'], held: Link): void {
  const isOlder = head.epoch < held.heldEpoch || (head.epoch === held.heldEpoch && head.generation < held.heldGeneration);
  const leavesGap = head.epoch === held.heldEpoch ? head.since > held.heldGeneration : head.since > 0;
  if (!isOlder && !leavesGap) return;
  const told = `epoch ${head.epoch}, generation ${head.generation} since ${head.since}`;
  throw new AppError(
    'mismatch',
    `the parent told ${told}; we hold epoch ${held.heldEpoch}, generation ${held.heldGeneration}: going back is refused`,
    {
      hint: 'an old answer was replayed, or the parent was restored from a backup and needs a new epoch',
    },
  );
}
