import type { Knex } from 'knex';
import { AppError } from '../../core/errors.ts';
import { type Id, printable } from '../../core/ids.ts';

/** What an order needs to know of its target. */
export type OrderTarget = { readonly id: Id; readonly name: string | null; readonly arch: string | null; readonly firmware: string | null };

/**
 * The target that a reference names: its id, name, UUID or MAC address.
 * Errors: `not_found`; `ambiguous` when two machines claim the same UUID.
 */
export async function findTarget(db: Knex, reference: string): Promise<OrderTarget> {
  const mac = reference
    .replaceAll(/[:-]/g, '')
    .toLowerCase()
    .match(/^[0-9a-f]{12}$/)?.[0]
    .match(/../g)
    ?.join(':');
  const rows = await db('targets')
    .where('id', reference)
    .orWhere('name', reference)
    .orWhere('uuid', reference.toLowerCase())
    .orWhereIn(
      'id',
      db('target_macs')
        .select('target_id')
        .where('mac', mac ?? ''),
    )
    .select<OrderTarget[]>('id', 'name', 'arch', 'firmware');
  const first = rows[0];
  if (first === undefined) {
    throw new AppError('not_found', `there is no target "${printable(reference)}"`, { hint: 'see "target list"' });
  }
  const exact = rows.find((row) => row.id === reference || row.name === reference);
  if (exact === undefined && rows.length > 1) {
    throw new AppError('ambiguous', `"${printable(reference)}" names ${rows.length} targets`, {
      hint: 'use the id or the name from "target list"',
    });
  }
  return exact ?? first;
}
