import type { Site } from '../site.ts';
import { DAY_MS } from './certificates.ts';
import type { SiteKeys } from './keys.ts';
import { renewOwnCertificates } from './renew.ts';

/** Looks once a day, and at the start, whether a certificate is past half of its life. Returns how to stop it. */
export function startRenewal(site: Site, options: { readonly onLeaf: (leaf: ReturnType<SiteKeys['leaf']>) => void }): () => Promise<void> {
  let running = Promise.resolve();
  const check = () => {
    running = running.then(() => renewAll(site, options.onLeaf));
  };
  const timer = setInterval(check, DAY_MS);
  timer.unref();
  check();
  return () => {
    clearInterval(timer);
    return running;
  };
}

async function renewAll(site: Site, onLeaf: (leaf: ReturnType<SiteKeys['leaf']>) => void): Promise<void> {
  try {
    if (await site.keys.renewLeaf(site.now())) {
      onLeaf(site.keys.leaf());
      site.log.info('TLS certificate renewed', { until: new Date(site.keys.leafValidity().to).toISOString() });
    }
    await renewOwnCertificates(site);
  } catch (error) {
    site.log.error('certificates were not renewed; tried again tomorrow', { error: String(error) });
  }
}
