import type { ServerClient } from '../../agent/client.ts';
import { idOf, machineOf } from '../../test/helpers/scale/machines.ts';
import type { RunningSite } from './running-site.ts';
import { inTurns, type Row, spreadOf } from './samples.ts';

type Pair = { readonly small: RunningSite; readonly large: RunningSite };

/** What firmware, people and monitors wait for, on a small and on a large site. */
export async function benchAnswers(pair: Pair, times: number): Promise<Row[]> {
  const rows: Row[] = [];
  for (const [what, work] of ANSWERS) rows.push(await inTurns({ ...pair, times }, what, async (side, n) => void (await work(side, n))));
  return rows;
}

type Work = (site: RunningSite, n: number) => Promise<unknown>;

/** Machines without an order of their own, one after the other, spread over all. */
const idle = ({ size }: RunningSite, n: number) => machineOf(0, ((Math.abs(n) * 7919) % (size.targets / 20)) * 20 + 1 + (Math.abs(n) % 19));
const below = ({ size }: RunningSite, n: number) => machineOf(1 + (Math.abs(n) % size.servers), Math.abs(n) % size.below.targets);
const strange = (n: number) => `02:${(n + 0x1_00_00_00_00_00).toString(16).slice(-10).match(/../g)?.join(':')}`;
const get = (path: (site: RunningSite, n: number) => string): Work => {
  return (site, n) => site.api('GET', path(site, n));
};

const ANSWERS: readonly (readonly [string, Work])[] = [
  ['boot script, machine known by its MAC address', (site, n) => site.script({ mac: idle(site, n).mac, arch: 'x86_64' })],
  ['boot script, known by its UUID', (site, n) => site.script({ uuid: idle(site, n + 3).uuid, arch: 'x86_64' })],
  ['boot script, machine never seen', (site, n) => site.script({ mac: strange(n + 10), arch: 'x86_64' })],
  ['targets, first page', get(() => '/api/v1/targets')],
  ['targets, a page in the middle', get(({ size }) => `/api/v1/targets?after=${machineOf(0, size.targets / 2).targetId}`)],
  ['one target, by MAC address', get((site, n) => `/api/v1/targets/${idle(site, n).mac}`)],
  ['orders, first page', get(() => '/api/v1/orders')],
  [
    'orders, a page in the middle',
    get(({ size: { targets, orders } }) => `/api/v1/orders?before=${idOf('order', orders / 2, targets + orders / 2)}`),
  ],
  ['orders of one target here', get((site, n) => `/api/v1/orders?target=${idle(site, n).targetId}`)],
  ['orders of one target at a server below', get((site, n) => `/api/v1/orders?target=${below(site, n).targetId}`)],
  [
    '`sync status`',
    async (site) =>
      Promise.all(['shared', 'links', 'runs?limit=1', 'holdings?children=false'].map((part) => site.api('GET', `/api/v1/${part}`))),
  ],
  ['`/healthz`, for comparison: no database', get(() => '/healthz')],
  ['`server list`, first page: 100 of 501 servers beside 6', get(() => '/api/v1/servers')],
  ["the console's tree: 501 servers beside 6", get(() => '/api/v1/tree')],
];

/** What an order takes: it is made, and claimed by the machine's agent; then it is stopped and let go. */
export async function benchOrders(pair: Pair, times: number): Promise<Row[]> {
  const claims = { small: [] as number[], large: [] as number[] };
  const made = await inTurns({ ...pair, times }, 'an order is made', async (site, n) => {
    const machine = idle(site, n + 11);
    const started = performance.now();
    const { id } = await site.api('POST', '/api/v1/orders', { target: machine.targetId, image: 'debian' });
    const took = performance.now() - started;
    const claim = await claimOnce(site, machine.mac, String(id));
    if (n >= 0) claims[site === pair.small ? 'small' : 'large'].push(claim);
    return took;
  });
  return [made, { what: 'an order is claimed by its agent', small: spreadOf(claims.small), large: spreadOf(claims.large) }];
}

async function claimOnce(site: RunningSite, mac: string, orderId: string): Promise<number> {
  const agent = await bootAgent(site, mac);
  const started = performance.now();
  const { action } = await agent.next(AbortSignal.timeout(30_000));
  const took = performance.now() - started;
  if (action !== 'task') throw new Error(`an agent was told to ${action} instead of its task`);
  await letGo(site, agent, orderId);
  return took;
}

async function bootAgent(site: RunningSite, mac: string): Promise<ServerClient> {
  const script = await site.script({ mac, arch: 'x86_64' });
  const [, bootId] = /ws\.boot=(\S+)/.exec(script) ?? [];
  if (bootId === undefined) throw new Error(`a machine with an order was told: ${script}`);
  return site.agent(bootId, mac);
}

/** So many agents at once, each of which has so many claims to make; so many times. */
type Crowd = { readonly workers: number; readonly each: number; readonly rounds: number };

/**
 * How many claims a second are answered when so many agents ask at once; all have said hello before. Both sites in turns, the median of
 * the rounds: a round is a third of a second, in which one checkpoint of the database, or whatever else the machine does, is half of it.
 */
export async function benchThroughput({ small, large }: Pair, crowd: Crowd): Promise<{ small: number; large: number }> {
  const rates = { small: [] as number[], large: [] as number[] };
  for (let round = 0; round < crowd.rounds; round += 1) {
    rates.small.push(await claimsPerSecond(small, crowd));
    rates.large.push(await claimsPerSecond(large, crowd));
  }
  return { small: spreadOf(rates.small).p50, large: spreadOf(rates.large).p50 };
}

async function claimsPerSecond(site: RunningSite, { workers, each }: Crowd): Promise<number> {
  const agents: { agent: ServerClient; orderId: string }[] = [];
  for (let n = 0; n < workers * each; n += 1) {
    const { targetId, mac } = machineOf(0, Math.floor(n / 19) * 20 + 1 + (n % 19));
    const { id } = await site.api('POST', '/api/v1/orders', { target: targetId, image: 'debian' });
    agents.push({ agent: await bootAgent(site, mac), orderId: String(id) });
  }
  const started = performance.now();
  const work = async (worker: number) => {
    for (let n = worker; n < agents.length; n += workers) await agents[n]?.agent.next(AbortSignal.timeout(30_000));
  };
  await Promise.all(Array.from({ length: workers }, (_, worker) => work(worker)));
  const seconds = (performance.now() - started) / 1000;
  for (const { agent, orderId } of agents) await letGo(site, agent, orderId);
  return agents.length / seconds;
}

async function letGo(site: RunningSite, agent: ServerClient, orderId: string): Promise<void> {
  await site.api('POST', `/api/v1/orders/${orderId}/stop`);
  await agent.report({ orderId, event: 'released' });
  agent.close();
}
