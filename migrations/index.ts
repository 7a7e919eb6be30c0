import type { Knex } from 'knex';
import * as foundation from './0001-foundation.ts';

export type Migration = { readonly name: string; readonly up: (db: Knex) => Promise<void> };

/** Every schema change, in order. A released one is never edited; a new one goes at the end. */
export const MIGRATIONS: readonly Migration[] = [{ name: '0001-foundation', up: foundation.up }];
