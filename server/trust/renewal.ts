import type { Site } from '../site.ts';
import { type CertifiedKey, DAY_MS } from './certificates.ts';
import { renewOwnCertificates } from './renew.ts';

/** Looks once a day, and at the start, whether a certificate is past half of its life. Returns how to stop it. */
export function startRenewal(site: Site, options: { readonly onLeaf: (leaf: CertifiedKey) => void }): () => Promise<void> {
  const stopping = new AbortController();
  let running = Promise.resolve();
  const check = () => {
    running = running.then(() => renewAll(site, options.onLeaf, stopping.signal));
  };
  const timer = setInterval(check, DAY_MS);
  timer.unref();
  check();
  return () => {
    clearInterval(timer);
    // A parent that does not answer must not hold up the end.
    stopping.abort();
    return running;
  };
}

async function renewAll(site: Site, onLeaf: (leaf: CertifiedKey) => void, signal: AbortSignal): Promise<void> {
  try {
    if (await site.keys.renewLeaf(site.now())) {
      onLeaf(site.keys.leaf());
      site.log.info('TLS certificate renewed', { until: new Date(site.keys.leafValidity().to).toISOString() });
    }
    await renewOwnCertificates(site, signal);
  } catch (error) {
    site.log.error('certificates were not renewed; tried again tomorrow', { error: String(error) });
  }
}
