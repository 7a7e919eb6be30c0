import { z } from 'zod';
import type { Envelope } from '../../core/envelope.ts';
import { AppError } from '../../core/errors.ts';
import type { Id } from '../../core/ids.ts';
import { OUR_PROTOCOLS } from '../../core/negotiate.ts';
import { Catalogue, type CatalogueHead, EnvelopeSchema } from '../../core/sync-protocol.ts';
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
 * Throws `version_mismatch`, `bad_signature`, `expired`, `bad_data` (an object told twice), and `mismatch` for a catalogue older than the one we hold
 * (a replay, or a parent restored from a backup without a new epoch).
 */
export async function verifyCatalogue(site: Site, from: { parent: KnownServer; link: Link }, answer: unknown): Promise<VerifiedCatalogue> {
  const { head, objects, mark } = await verifySigned(site, from.parent.id, answer, (told, catalogue) => {
    if (told.archive !== undefined)
      throw new AppError('bad_data', "the parent's catalogue is one of an archive file", { hint: 'upgrade the parent' });
    checkOrder(told, from);
    checkMark(catalogue, from);
  });
  return { epoch: head.epoch, generation: head.generation, objects, mark };
}

/**
 * The same without the order of generations, for an answer of any server that we know; `checkHead` is called when the head is
 * believed and before the objects are looked at. Throws as `verifyCatalogue` does, but no `mismatch`.
 */
export async function verifySigned(
  site: Site,
  serverId: Id,
  answer: unknown,
  checkHead: (head: CatalogueHead, catalogue: Catalogue) => void = () => undefined,
): Promise<{ readonly head: CatalogueHead; readonly objects: readonly Envelope[]; readonly mark: string | undefined }> {
  const catalogue = parse(answer);
  const { head } = catalogue;
  verifyCatalogueHead(catalogue, await trustedSigner(site, catalogue, { keyId: catalogue.keyId, serverId }));
  checkAge(head, site.now());
  checkHead(head, catalogue);
  checkOnce(catalogue.objects as unknown as Envelope[]);
  const objects: Envelope[] = [];
  for (const object of catalogue.objects as unknown as Envelope[]) {
    if (object.origin === site.self.id) continue;
    verifyEnvelope(object, await trustedSigner(site, catalogue, { keyId: object.keyId, serverId: object.origin }));
    objects.push(object);
  }
  return { head, objects, mark: catalogue.mark };
}

/** The frame of the answer; its objects are looked at one by one, so that the first wrong one ends it. */
const CatalogueFrame = Catalogue.extend({ objects: z.array(z.unknown()) });

function parse(answer: unknown): Catalogue {
  const frame = CatalogueFrame.safeParse(answer);
  const protocol = (answer as { protocol?: unknown } | null)?.protocol;
  const { oldest, newest } = OUR_PROTOCOLS;
  if (!frame.success || frame.data.protocol < oldest || frame.data.protocol > newest) throw unreadable(protocol);
  const objects = frame.data.objects.map((object, index) => {
    const parsed = EnvelopeSchema.safeParse(object);
    if (parsed.success) return parsed.data;
    throw unreadable(protocol, ` (object ${index} of ${frame.data.objects.length})`);
  });
  return { ...frame.data, objects };
}

/** Each object once: which of two would count is not for the order of an answer to decide. */
function checkOnce(objects: readonly Envelope[]): void {
  const ids = new Set<string>();
  for (const { id } of objects) {
    if (ids.has(id)) throw new AppError('bad_data', `the parent's catalogue names object ${id} twice`, { hint: 'nothing of it was taken' });
    ids.add(id);
  }
}

/** Clocks that are two days apart still work together; what is dated later, or meant to be believed for longer than our own, is no answer to us. */
const CLOCK_TOLERANCE_MS = 2 * 86_400_000;
const LONGEST_VALID_MS = 31 * 86_400_000;

function checkAge(head: CatalogueHead, now: number): void {
  const date = (at: number) => new Date(at).toISOString();
  const isValid = now <= head.expiresAt && head.issuedAt <= now + CLOCK_TOLERANCE_MS && head.expiresAt - head.issuedAt <= LONGEST_VALID_MS;
  if (isValid) return;
  throw new AppError(
    'expired',
    `the parent's catalogue is valid from ${date(head.issuedAt)} to ${date(head.expiresAt)}, it is ${date(now)} here`,
    {
      hint: 'check the clocks of both servers',
    },
  );
}

function unreadable(protocol: unknown, where = ''): AppError {
  const what = typeof protocol === 'number' ? `protocol ${protocol}` : 'something that is no catalogue';
  return new AppError('version_mismatch', `the parent speaks ${what}${where}, this server protocol ${OUR_PROTOCOLS.newest}`, {
    hint: 'upgrade the older of the two servers',
  });
}

function checkOrder(head: CatalogueHead, { parent, link: held }: { parent: KnownServer; link: Link }): void {
  const isOlder = head.epoch < held.heldEpoch || (head.epoch === held.heldEpoch && head.generation < held.heldGeneration);
  const leavesGap = head.epoch === held.heldEpoch ? head.since > held.heldGeneration : head.since > 0;
  if (!isOlder && !leavesGap) return;
  const told = `epoch ${head.epoch}, generation ${head.generation} since ${head.since}`;
  throw new AppError(
    'mismatch',
    `the parent told ${told}; we hold epoch ${held.heldEpoch}, generation ${held.heldGeneration}: going back is refused`,
    {
      hint: `if ${parent.name} was restored from a backup, run there: waystation server epoch raise --yes`,
    },
  );
}

/** The numbers are in order and yet not those that we took: the parent was restored from a backup and has made new ones since. */
function checkMark({ head, mark, sinceMark }: Catalogue, { parent, link: held }: { parent: KnownServer; link: Link }): void {
  const isContinued = head.epoch === held.heldEpoch && head.since === held.heldGeneration;
  const told = head.since === head.generation ? mark : sinceMark;
  if (!isContinued || held.heldMark === null || told === undefined || told === held.heldMark) return;
  throw new AppError(
    'mismatch',
    `the parent's generation ${head.since} is not the one that this server took: what came between is lost there`,
    {
      hint: `if ${parent.name} was restored from a backup, run there: waystation server epoch raise --yes`,
    },
  );
}
