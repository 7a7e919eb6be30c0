import { AppError } from '../../core/errors.ts';

/** How many octets the sender may still put on the link; it waits here when there are none. */
export type CreditGate = {
  /** Takes between 1 and `wanted` octets of credit as soon as there are any; 0 after `close`. One taker at a time. */
  take(wanted: number): Promise<number>;
  /** Gives octets back, or such as were kept back at the start. Throws `bad_packet` for more than the limit: the peer is not one of ours. */
  grant(bytes: number): void;
  close(): void;
};

/** A gate that starts with `credit` octets, of the `limit` that it ever has. */
export function openCreditGate(limit: number, credit = limit): CreditGate {
  let left = credit;
  let closed = false;
  let wake: () => void = () => undefined;
  return {
    async take(wanted) {
      while (left === 0 && !closed) await new Promise<void>((resolve) => (wake = resolve));
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
