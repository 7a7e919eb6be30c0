import type { Transfer } from './transfer.ts';

/** One client address and port that reads one file. */
export type Session = {
  readonly key: string;
  readonly address: string;
  readonly port: number;
  readonly file: string;
  readonly startedAtMs: number;
  transfer: Transfer;
  timer: NodeJS.Timeout | undefined;
};

export type SessionLimits = { readonly total: number; readonly perAddress: number };

/** 4096 sessions are about 10 MB; a boot storm of 1,000 machines fits four times. */
export const DEFAULT_LIMITS: SessionLimits = { total: 4_096, perAddress: 128 };

/**
 * The table of transfers, bounded whatever arrives. When it is full a newcomer takes the place of the
 * oldest session whose client never answered (a forged address never will); sessions that flow are never
 * put out. Memory and sockets stay bounded because a session is one entry here, not a socket.
 */
export class SessionTable {
  readonly #limits: SessionLimits;
  readonly #sessions = new Map<string, Session>();
  /** Sessions that wait for the first answer, oldest first. */
  readonly #offered = new Set<Session>();
  readonly #perAddress = new Map<string, number>();

  constructor(limits: SessionLimits) {
    this.#limits = limits;
  }

  get size(): number {
    return this.#sessions.size;
  }

  get(address: string, port: number): Session | undefined {
    return this.#sessions.get(keyOf(address, port));
  }

  /** Takes a new session in, or returns undefined when there is no room for it. */
  add(fields: Omit<Session, 'key' | 'timer'>): Session | undefined {
    const key = keyOf(fields.address, fields.port);
    const inUse = this.#perAddress.get(fields.address) ?? 0;
    if (inUse >= this.#limits.perAddress || !this.#makeRoom()) return undefined;
    const session: Session = { ...fields, key, timer: undefined };
    this.#sessions.set(key, session);
    this.#offered.add(session);
    this.#perAddress.set(session.address, (this.#perAddress.get(session.address) ?? 0) + 1);
    return session;
  }

  /** The client answered: the session can no longer be put out. */
  settle(session: Session): void {
    this.#offered.delete(session);
  }

  remove(session: Session): void {
    clearTimeout(session.timer);
    session.timer = undefined;
    this.#offered.delete(session);
    if (this.#sessions.get(session.key) !== session) return;
    this.#sessions.delete(session.key);
    const left = (this.#perAddress.get(session.address) ?? 1) - 1;
    if (left === 0) this.#perAddress.delete(session.address);
    else this.#perAddress.set(session.address, left);
  }

  clear(): void {
    for (const session of [...this.#sessions.values()]) this.remove(session);
  }

  #makeRoom(): boolean {
    if (this.#sessions.size < this.#limits.total) return true;
    const [oldest] = this.#offered;
    if (oldest === undefined) return false;
    this.remove(oldest);
    return true;
  }
}

function keyOf(address: string, port: number): string {
  return `${address} ${port}`;
}
