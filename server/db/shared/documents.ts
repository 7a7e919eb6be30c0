import type { Knex } from 'knex';
import { parseBoundedJson } from '../../../core/bounded-json.ts';
import type { Json } from '../../../core/canonical-json.ts';

/*
 * Documents in rows of the shared database. Whoever can log in there can write what no server would: of any length, and no JSON. What
 * is too long is not fetched, and what cannot be read is left out; neither is a reason to stop.
 */

/** Octets of one document: an image with as many partitions as there may be. */
export const MOST_OCTETS = 327_680;
const MOST_VALUES = 50_000;

/** A column of documents for `select`, null where it is longer than `MOST_OCTETS`. */
export function boundedText(db: Knex, column: string): Knex.Raw {
  return db.raw('case when length(??) <= ? then ?? end as ??', [column, MOST_OCTETS, column, column]);
}

/** The document in such a column; undefined for what is none. */
export function readDocumentText(text: string | null | undefined): Json | undefined {
  if (typeof text !== 'string') return undefined;
  try {
    return parseBoundedJson(Buffer.from(text), { bytes: MOST_OCTETS, values: MOST_VALUES }) as Json;
  } catch {
    // Whatever is wrong with it: nobody is here who could mend it, and the caller leaves it out.
    return undefined;
  }
}

/** The latest time that a Date can hold, epoch ms. */
export const LATEST_MS = 8.64e15;

/** Numbers beyond are not told apart; no server gets there. */
export const MOST_NUMBER = Number.MAX_SAFE_INTEGER;
