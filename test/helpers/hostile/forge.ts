import type { Json } from '../../../core/canonical-json.ts';
import { digestOf, type Envelope, type ObjectKind, signedBytes } from '../../../core/envelope.ts';
import { type Id, newId } from '../../../core/ids.ts';
import type { Catalogue } from '../../../core/sync-protocol.ts';
import type { Site } from '../../../server/site.ts';
import { catalogueBytes, objectsDigest } from '../../../server/trust/signatures.ts';

type Change = {
  readonly head?: Partial<Catalogue['head']>;
  readonly objects?: readonly Envelope[];
  readonly signers?: Catalogue['signers'];
};

/** The answer with changes, signed by `site` as if it were its own. */
export function resigned(site: Site, honest: Catalogue, { head: changes, objects, signers }: Change): Catalogue {
  const told = (objects ?? honest.objects) as Catalogue['objects'];
  const head = { ...honest.head, objectsDigest: objectsDigest(told), ...changes };
  return { ...honest, objects: told, head, signers: signers ?? honest.signers, signature: site.keys.sign(catalogueBytes(head)) };
}

export type Draft = { readonly kind?: ObjectKind; readonly id?: Id; readonly origin?: Id; readonly revision?: number; readonly body: Json };

/** An object with a true signature of `site`, whatever it claims. */
export function forgedObject(site: Site, draft: Draft): Envelope {
  const unsigned = {
    kind: draft.kind ?? 'document',
    id: draft.id ?? newId(),
    origin: draft.origin ?? site.self.id,
    revision: draft.revision ?? 1,
    digest: digestOf(draft.body),
    keyId: site.keys.signerKeyId,
  };
  return { ...unsigned, body: draft.body, signature: site.keys.sign(signedBytes(unsigned)) };
}

/** The first image object of an answer with another body, newly signed by the parent. */
export function withBody(site: Site, honest: Catalogue, change: (body: Record<string, Json>) => Json): Catalogue {
  const objects = (honest.objects as unknown as Envelope[]).map((object) =>
    object.kind === 'image' && object.body !== null
      ? forgedObject(site, { ...object, body: change({ ...(object.body as Record<string, Json>) }) })
      : object,
  );
  return resigned(site, honest, { objects });
}
