import { type Bucket, openBucket } from './bucket.ts';

/**
 * Who may send next, and when. Every child is a flow with a cap of its own and a priority; all of them share the total.
 * Among those that want to send and are not held back by their cap the one with the earliest start tag goes first
 * (start-time fair queueing): a flow's tag moves on by what it sent, divided by its priority. So the shares are as the
 * priorities, what one does not use is the others', and nobody saves up a claim while silent.
 * Source: P. Goyal, H. Vin, H. Cheng, "Start-time Fair Queuing", SIGCOMM 1996.
 *
 * It knows no clock and no socket: the caller tells the time (ms that never go back) and sets the timers.
 */
export type EgressScheduler<Ticket> = {
  setTotal(bps: number | null, now: number): void;
  /** Adds a flow, or changes its cap and priority. */
  setFlow(id: string, flow: { readonly bps: number | null; readonly priority: number }, now: number): void;
  /** Forgets a flow and what it asked for. */
  removeFlow(id: string): void;
  /** How much that flow should ask for at once: small for slow flows, so that the rate is even and the turns come often. */
  sliceBytes(id: string): number;
  ask(id: string, bytes: number, ticket: Ticket): void;
  /** What may be sent now, and when to look again; null: not before somebody asks. */
  grant(now: number): { readonly granted: readonly Ticket[]; readonly nextAt: number | null };
};

type Request<Ticket> = { readonly bytes: number; readonly ticket: Ticket; readonly tag: number };
type Flow<Ticket> = { bps: number | null; priority: number; readonly bucket: Bucket; finish: number; readonly queue: Request<Ticket>[] };

const MIN_SLICE = 4096;
/** Fifty branches at a few Mbit/s: smaller ones would only cost processor time at both ends. */
const MIN_SHARE_SLICE = 8192;
const MAX_SLICE = 65_536;
/** A slice takes about so long: at a cap of its own a flow should be even; in its share of the total it only has to get its turn. */
const SLICE_MS = { ofCap: 25, ofShare: 100 } as const;
/** In any three seconds what was saved up is at most a tenth. A busy process that looks later than this loses the rest. */
const SAVED_MS = { flow: 200, total: 300 } as const;

export function openScheduler<Ticket>(): EgressScheduler<Ticket> {
  const total = openBucket(null, SAVED_MS.total);
  const flows = new Map<string, Flow<Ticket>>();
  let totalBps: number | null = null;
  let virtualTime = 0;

  /** The flow with the earliest tag that its own cap lets go, or the time at which the first one will be let go. */
  const choose = (now: number): { next: Flow<Ticket> | undefined; readyAt: number } => {
    let next: Flow<Ticket> | undefined;
    let readyAt = Number.POSITIVE_INFINITY;
    for (const flow of flows.values()) {
      const tag = flow.queue[0]?.tag;
      if (tag === undefined) continue;
      const flowReadyAt = flow.bucket.readyAt(now);
      readyAt = Math.min(readyAt, flowReadyAt);
      if (flowReadyAt <= now && tag < (next?.queue[0]?.tag ?? Number.POSITIVE_INFINITY)) next = flow;
    }
    return { next, readyAt };
  };

  return {
    setTotal(bps, now) {
      if (bps === totalBps) return;
      totalBps = bps;
      total.setRate(bps, now);
    },
    setFlow(id, { bps, priority }, now) {
      const flow = flows.get(id);
      if (flow === undefined) {
        flows.set(id, { bps, priority, bucket: openBucket(bps, SAVED_MS.flow), finish: virtualTime, queue: [] });
        return;
      }
      flow.priority = priority;
      if (flow.bps === bps) return;
      flow.bps = bps;
      flow.bucket.setRate(bps, now);
    },
    removeFlow: (id) => void flows.delete(id),
    sliceBytes(id) {
      const ofCap = bytesIn(flows.get(id)?.bps ?? null, SLICE_MS.ofCap);
      const ofShare = bytesIn(totalBps === null ? null : totalBps / Math.max(1, flows.size), SLICE_MS.ofShare);
      return Math.max(MIN_SLICE, Math.min(MAX_SLICE, ofCap, Math.max(MIN_SHARE_SLICE, ofShare)));
    },
    ask(id, bytes, ticket) {
      const flow = flows.get(id);
      if (flow === undefined) throw new Error(`there is no flow ${id}`);
      const tag = Math.max(virtualTime, flow.finish);
      flow.finish = tag + bytes / flow.priority;
      flow.queue.push({ bytes, ticket, tag });
    },
    grant(now) {
      const granted: Ticket[] = [];
      for (;;) {
        const totalReadyAt = total.readyAt(now);
        const { next, readyAt } = choose(now);
        if (readyAt === Number.POSITIVE_INFINITY) return { granted, nextAt: null };
        if (next === undefined || totalReadyAt > now)
          return { granted, nextAt: Math.max(totalReadyAt, next === undefined ? readyAt : now) };
        const request = next.queue.shift() as Request<Ticket>;
        virtualTime = Math.max(virtualTime, request.tag);
        next.bucket.take(request.bytes, now);
        total.take(request.bytes, now);
        granted.push(request.ticket);
      }
    },
  };
}

function bytesIn(bps: number | null, ms: number): number {
  return bps === null ? Number.POSITIVE_INFINITY : Math.floor((bps / 8000) * ms);
}
