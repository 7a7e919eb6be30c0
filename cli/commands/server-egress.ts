import type { Command } from 'commander';
import type { Json } from '../../core/canonical-json.ts';
import { AppError } from '../../core/errors.ts';
import type { EgressView } from '../../server/api/routes/egress.ts';
import type { Client } from '../client.ts';
import type { Frame } from '../frame.ts';
import { table } from '../output.ts';
import { megabits, wholeNumber } from '../parse.ts';

/** What a parent grants: how much it sends in all, in which shares, and to whom nothing. */
export function registerEgress(server: Command, frame: Frame): void {
  const egress = server.command('egress').description('how much all children together are sent');
  egress
    .command('show', { isDefault: true })
    .description('the limit, and the children with priority and pause')
    .action(() => change(frame, (client) => client.get('/api/v1/egress')));
  egress
    .command('set <mbit>')
    .description('limit it to so many Mbit/s (10^6 bits), shared by priority; transfers under way obey at once')
    .action((mbit: string) => change(frame, (client) => client.put('/api/v1/egress', { mbit: megabits(mbit) })));
  egress
    .command('off')
    .description('no limit')
    .action(() => change(frame, (client) => client.put('/api/v1/egress', { mbit: null })));
  server
    .command('priority <server> <n>')
    .description("a child's share of the egress against the others', 1 to 100 (10: a new child's)")
    .action((reference: string, n: string) =>
      change(frame, (client) => client.put(`${pathOf(reference)}/priority`, { priority: wholeNumber(n) })),
    );
  for (const verb of ['pause', 'resume'] as const) {
    server
      .command(`${verb} [server]`)
      .description(verb === 'pause' ? 'give a child no content until it is resumed; what runs stops, keeping what came' : 'let it go on')
      .option('--all', 'all children')
      .action((reference: string | undefined, options: { all?: boolean }) => {
        const path = whichPath(reference, options.all ?? false);
        return change(frame, (client) => client.post(`${path}/${verb}`));
      });
  }
}

function whichPath(reference: string | undefined, isAll: boolean): string {
  if ((reference === undefined) !== isAll) throw new AppError('usage', 'name one child, or give --all', { hint: 'waystation server list' });
  return reference === undefined ? '/api/v1/egress' : pathOf(reference);
}

function pathOf(reference: string): string {
  return `/api/v1/servers/${encodeURIComponent(reference)}`;
}

async function change(frame: Frame, ask: (client: Client) => Promise<unknown>): Promise<void> {
  const view = (await ask(await frame.connect())) as EgressView;
  frame.print(view as unknown as Json, () => {
    const total = `egress: ${view.mbit === null ? 'no limit' : `${view.mbit} Mbit/s`}`;
    const rows = view.children.map(({ name, priority, paused }) => [name, priority, paused && `by ${paused.by} since ${paused.since}`]);
    return rows.length === 0 ? total : `${total}\n${table(['CHILD', 'PRIORITY', 'PAUSED'], rows)}`;
  });
}
