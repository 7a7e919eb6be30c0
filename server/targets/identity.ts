import { isId, type Mac, printable } from '../../core/ids.ts';

/** How a machine says who it is; every member comes from the machine and may be a lie. */
export type SaidIdentity = { readonly uuid?: string | undefined; readonly serial?: string | undefined; readonly macs: readonly Mac[] };

/** What of it can tell one machine from another. */
export type KnownIdentity = { readonly uuid: string | null; readonly serial: string | null; readonly macs: readonly Mac[] };

const MAX_MACS = 64;

/**
 * UUIDs that whole model lines share, because the maker left the field as the firmware kit had it. A
 * UUID of one repeated digit (all zeros: not set, all f: settable, SMBIOS 3.7 §7.2.1) says nothing either.
 */
const SHARED_UUIDS: ReadonlySet<string> = new Set([
  '03000200-0400-0500-0006-000700080009',
  '00020003-0004-0005-0006-000700080009',
  '12345678-1234-5678-90ab-cddeefaabbcc',
]);

const SHARED_SERIALS =
  /^(|0+|none|n\/?a|unknown|not (specified|available|applicable|present)|default string|system serial number|to be filled by o\.?e\.?m\.?|o\.e\.m\.|chassis serial number|123456789|0123456789|invalid|empty)$/i;

/** The UUID in lower case, or null when it is no UUID or one that many machines share. */
export function usableUuid(text: string | undefined): string | null {
  const uuid = text?.trim().toLowerCase() ?? '';
  if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(uuid) || SHARED_UUIDS.has(uuid)) return null;
  return /^(.)\1*$/.test(uuid.replaceAll('-', '')) ? null : uuid;
}

/**
 * The same UUID as a firmware that knows SMBIOS before 2.6 writes it: the first three fields in the other byte
 * order (SMBIOS 3.7 §7.2.1). iPXE and the kernel may disagree about old machines, so both mean one machine.
 */
export function swappedUuid(uuid: string): string {
  const swap = (field: string) => (field.match(/../g) ?? []).reverse().join('');
  const [first = '', second = '', third = '', ...rest] = uuid.split('-');
  return [swap(first), swap(second), swap(third), ...rest].join('-');
}

/** The serial number, printable and at most 80 characters, or null when it is a maker's filler. */
export function usableSerial(text: string | undefined): string | null {
  const serial = printable(text?.trim() ?? '');
  return SHARED_SERIALS.test(serial) ? null : serial;
}

/** Group addresses and the address of no interface identify nobody (IEEE 802: lowest bit of the first octet). */
function isUsableMac(mac: Mac): boolean {
  return mac !== '00:00:00:00:00:00' && (Number.parseInt(mac.slice(0, 2), 16) & 1) === 0;
}

export function knownIdentity(said: SaidIdentity): KnownIdentity {
  const macs = [...new Set(said.macs)].filter(isUsableMac).slice(0, MAX_MACS);
  return { uuid: usableUuid(said.uuid), serial: usableSerial(said.serial), macs };
}

/** Which column a target reference may stand for. A name may look like a MAC without colons, so both are tried. */
export function referenceKinds(reference: string): readonly ('id' | 'name' | 'uuid' | 'mac')[] {
  const kinds: ('id' | 'name' | 'uuid' | 'mac')[] = [];
  if (isId(reference)) kinds.push('id');
  if (usableUuid(reference) !== null) kinds.push('uuid');
  if (/^[0-9a-f]{2}([:-]?[0-9a-f]{2}){5}$/i.test(reference)) kinds.push('mac');
  if (/^[a-z0-9][a-z0-9._-]{0,62}$/.test(reference)) kinds.push('name');
  return kinds;
}
