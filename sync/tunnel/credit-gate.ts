import { AppError } from '../../core/errors.ts';

/** How many octets the sender may still put on the link; it waits here when there are none. */
export type CreditGate = {
  /**
   * Takes between 1 and `wanted` octets of credit as soon as there are any, but no crumbs: less than 4 KiB only when no more are wanted. A crumb
   * that is sent comes back as credit for a crumb, and so on until the end (RFC 1122, 4.2.3.4). 0 after `close`. One taker at a time.
   */
  take(wanted: number): Promise<number>;
  /** Gives octets back, or such as were kept back at the start. Throws `bad_packet` for more than the limit: the peer is not one of ours. */
  grant(bytes: number): void;
  close(): void;
};

const LEAST_BYTES = 4096;

/** A gate that starts with `credit` octets, of the `limit` that it ever has. */
export function openCreditGate(limit: number, credit = limit): CreditGate {
  let left = credit;
  let closed = false;
  let wake: () => void = () => undefined;
  return {
    async take(wanted) {
      const least = Math.min(wanted, LEAST_BYTES, limit);
      while (left < least && !closed) await new Promise<void>((resolve) => (wake = resolve));
      if (closed) return 0;
      const taken = Math.min(wanted, left);
      left -= taken;
      return taken;
    },
    grant(bytes) {
      if (left + bytes > limit) throw new AppError('bad_packet', 'the tunnel got credit for bytes that were never sent');
      left += bytes;
      wake();
    },
    close() {
      closed = true;
      wake();
    },
  };
}
