import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { createNetworks, type Netns } from './netns.ts';

/** Octets are those of IP packets that were put on the wire in one direction; `dropped` by the queue, `lost` behind it. */
export type WireCount = { readonly bytes: number; readonly packets: number; readonly dropped: number; readonly lost: number };

/**
 * A slow line between headquarters and a branch, each a network namespace of its own: exact rate, one-way delay and a
 * drop-tail queue in both directions, everything counted. Kernels without sch_netem have no other way. Needs root and /dev/net/tun.
 */
export type Wan = {
  readonly hq: Netns;
  readonly branch: Netns;
  readonly hqAddress: string;
  readonly branchAddress: string;
  /** What crossed so far: `down` from headquarters to the branch. */
  count(): Promise<{ readonly down: WireCount; readonly up: WireCount }>;
  setRate(mbits: number): Promise<void>;
  setLoss(loss: number): Promise<void>;
  /** Packets vanish, those under way as well. */
  blackhole(): Promise<void>;
  /** TCP packets are answered with a reset, everything else vanishes. */
  cut(): Promise<void>;
  restore(): Promise<void>;
  /** Stops what was spawned in the namespaces and removes them. */
  close(): Promise<void>;
};

export type WanOptions = {
  readonly mbits: number;
  readonly rttMs: number;
  /** How long a full queue takes to drain; 100 ms without it. */
  readonly queueMs?: number;
  /** Share of packets that are lost, by `seed`. */
  readonly loss?: number;
  readonly seed?: number;
};

const RELAY = join(import.meta.dirname, 'wan/wan-relay.pl');
const HQ = '10.77.0.1';
const BRANCH = '10.77.0.2';

/** Builds the line; both sides can talk when it resolves. The caller closes it. */
export async function startWan({ mbits, rttMs, queueMs = 100, loss = 0, seed = 1 }: WanOptions): Promise<Wan> {
  const networks = createNetworks();
  try {
    const hq = await networks.add('hq');
    const branch = await networks.add('branch');
    const figures = [mbits * 1e6, rttMs / 2, Math.round((mbits * 1e6 * queueMs) / 8000), loss, seed].map(String);
    const relay = hq.spawn(['nice', '-n', '-10', 'perl', RELAY, hq.name, branch.name, ...figures], { stdio: ['pipe', 'pipe', 'inherit'] });
    const ask = conversation(relay);
    if ((await ask(undefined)) !== 'ready') throw new Error('the relay did not start');
    for (const [side, address, other] of [[hq, HQ, BRANCH] as const, [branch, BRANCH, HQ] as const]) {
      await side.ip('addr', 'add', address, 'peer', other, 'dev', 'wan');
      await side.ip('link', 'set', 'wan', 'mtu', '1500', 'up');
    }
    const say = async (command: string) => void (await ask(command));
    return {
      hq,
      branch,
      hqAddress: HQ,
      branchAddress: BRANCH,
      count: async () => {
        const [down, up] = JSON.parse((await ask('stats')) ?? '') as [WireCount, WireCount];
        return { down, up };
      },
      setRate: (wanted) => say(`rate ${wanted * 1e6}`),
      setLoss: (wanted) => say(`loss ${wanted}`),
      blackhole: () => say('blackhole'),
      cut: () => say('cut'),
      restore: () => say('restore'),
      close: () => networks.close(),
    };
  } catch (error) {
    await networks.close();
    throw error;
  }
}

/** One line in, one line out, in turn; undefined once the relay is gone. The first line comes without a question. */
function conversation(relay: ReturnType<Netns['spawn']>): (command: string | undefined) => Promise<string | undefined> {
  const lines = createInterface({ input: relay.stdout as NodeJS.ReadableStream });
  const gone = once(relay, 'exit').then(() => undefined);
  let turn: Promise<unknown> = Promise.resolve();
  return (command) => {
    const answer = turn.then(async () => {
      const line = once(lines, 'line').then(([text]) => String(text));
      if (command !== undefined) relay.stdin?.write(`${command}\n`);
      return Promise.race([line, gone]);
    });
    turn = answer;
    return answer;
  };
}
