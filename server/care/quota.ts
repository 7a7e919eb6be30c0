import { AppError } from '../../core/errors.ts';
import type { Site } from '../site.ts';

const MIB = 1_048_576;

/** What the packs may take altogether, and what they take. */
export type Quota = { readonly limitBytes: number; readonly usedBytes: number };

/** The quota of the site's store; undefined when there is none. Archives built for children have a limit of their own. */
export async function getQuota(site: Pick<Site, 'config' | 'store'>): Promise<Quota | undefined> {
  const limitBytes = site.config.storeQuotaBytes;
  return limitBytes === 0 ? undefined : { limitBytes, usedBytes: (await site.store.stats()).storedBytes };
}

/** Throws `disk_full`, naming the quota, unless `bytes` more are within it. */
export async function requireQuota(site: Pick<Site, 'config' | 'store'>, bytes: number): Promise<void> {
  const quota = await getQuota(site);
  if (quota === undefined || quota.usedBytes + bytes <= quota.limitBytes) return;
  const [needs, holds, limit] = [bytes, quota.usedBytes, quota.limitBytes].map((figure) => `${Math.ceil(figure / MIB)} MiB`);
  throw new AppError('disk_full', `${needs} more would exceed this site's quota: the store holds ${holds} of ${limit} (storeQuotaBytes)`, {
    hint: 'waystation store gc --dry-run says what could go; or raise storeQuotaBytes',
  });
}
