import { createHash } from 'node:crypto';
import { newId } from '../../../core/ids.ts';
import type { EXAMPLE } from './examples.ts';

/** The machine number `n` of a server: the same for the same two, and no other has any of it. */
export type Machine = { readonly [Key in keyof typeof EXAMPLE]: string } & { readonly targetId: string };

const hex = (n: number, digits: number) => n.toString(16).padStart(digits, '0');

export function machineOf(server: number, n: number): Machine {
  const number = server * 100_000 + n;
  return {
    targetId: idOf('target', number, n),
    name: `m-${number}`,
    uuid: `4c4c4544-${hex(server, 4)}-4000-8000-${hex(n, 12)}`,
    serial: `SERIAL-${number}`,
    mac: (`52${hex(number, 10)}`.match(/../g) ?? []).join(':'),
    key: `sha256:${createHash('sha256').update(String(number)).digest('hex')}`,
  };
}

const FIRST_MS = Date.parse('2026-01-01T00:00:00Z');

/** An id of a kind of things, by number; `later` (minutes from a first moment on) gives the order among them. */
export function idOf(kind: string, number: number, later: number): string {
  return newId(FIRST_MS + later * 60_000, createHash('sha256').update(`${kind} ${number}`).digest().subarray(0, 10));
}

/** How long after the first moment something of this number happened. */
export function timeOf(later: number): number {
  return FIRST_MS + later * 60_000;
}
