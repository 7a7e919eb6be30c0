import type { Json } from '../../core/canonical-json.ts';
import type { Image } from '../../core/image.ts';
import { serverName } from '../control/servers-below.ts';
import { listImages } from '../db/images.ts';
import { listHoldings } from '../holdings/list.ts';
import type { HoldingView } from '../holdings/view.ts';
import type { Site } from '../site.ts';
import { viewHeldImage } from './view.ts';

type View = { readonly [key: string]: Json };
type Use = Pick<HoldingView, 'role' | 'choice' | 'activatesAt' | 'wanted'>;

/** All images of this site, newest first, each with what it is used for here: the default of its name, the one before, waiting, pinned. */
export async function listHeldImages(site: Pick<Site, 'db' | 'self' | 'store'>): Promise<View[]> {
  const uses = await readUses(site);
  return (await listImages(site.db)).map((image) => ({ ...viewHeldImage(site, image), ...uses.get(image.id) }));
}

/** The same of one, with the name of the server that made it, where it is known here (else its id). */
export async function showHeldImage(site: Pick<Site, 'db' | 'self' | 'store'>, image: Image): Promise<View> {
  const use = (await readUses(site)).get(image.id);
  return { ...viewHeldImage(site, image), ...use, originName: await serverName(site.db, image.origin) };
}

async function readUses(site: Pick<Site, 'db' | 'self' | 'store'>): Promise<Map<string, Use>> {
  const holdings = await listHoldings(site, { isMeasured: false });
  return new Map(holdings.map(({ id, role, choice, activatesAt, wanted }) => [id, { role, choice, activatesAt, wanted }]));
}
