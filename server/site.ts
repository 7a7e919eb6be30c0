import type { Knex } from 'knex';
import type { Logger } from 'winston';
import type { ContentStore } from '../core/content-store.ts';
import type { Id, Name } from '../core/ids.ts';
import type { Config } from './config.ts';
import type { Shared } from './shared/open.ts';
import type { SiteKeys } from './trust/keys.ts';
import type { Wake } from './wake.ts';

/**
 * One opened data directory: what every part of the server works with. Made by `openSite`
 * (server/open-site.ts) under DIR/lock, by `serve` and by offline commands alike.
 */
export type Site = {
  readonly dataDir: string;
  readonly config: Config;
  readonly self: { readonly id: Id; readonly name: Name };
  readonly db: Knex;
  /** The database where servers meet; undefined for a server that stands alone or replicates by links only. */
  readonly shared: Shared | undefined;
  readonly store: ContentStore;
  readonly keys: SiteKeys;
  readonly log: Logger;
  readonly wake: Wake;
  /** Epoch milliseconds; a fake in tests. */
  readonly now: () => number;
  close(): Promise<void>;
};
