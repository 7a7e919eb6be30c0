import type { Command } from 'commander';
import type { Json } from '../../core/canonical-json.ts';
import type { TargetView } from '../../server/targets/view.ts';
import type { Frame } from '../frame.ts';
import { details, formatBytes, table } from '../output.ts';
import { readPages } from '../pages.ts';

type AddOptions = { mac?: string[]; uuid?: string; serial?: string; arch?: string; firmware?: string; server?: string };

const EXITS = '\nExit codes: 0 done, 64 usage, 65 name taken, ambiguous or order still active, 66 not found, 69 no server runs';

export function register(program: Command, frame: Frame): void {
  const target = program
    .command('target')
    .description('machines to be installed; T is an id, name, UUID or MAC address')
    .addHelpText('after', EXITS);
  target
    .command('list')
    .description('list targets, the discovered ones and those of servers below too')
    .action(() => list(frame));
  target
    .command('show <T>')
    .description('show one target with its inventory and order')
    .action((reference: string) => show(frame, reference));
  target
    .command('add <name>')
    .description('write a machine down before it is seen, or name one that was discovered')
    .option('--mac <mac...>', 'MAC addresses')
    .option('--uuid <uuid>', 'UUID as its firmware (SMBIOS) tells it')
    .option('--serial <serial>', 'serial number as its firmware tells it')
    .option('--arch <arch>', 'amd64 or arm64')
    .option('--firmware <firmware>', 'bios or uefi')
    .option('--server <server>', 'the server below this one that it lives at')
    .action((name: string, options: AddOptions) => add(frame, name, options));
  target
    .command('group <group> <T...>')
    .description('give targets to a group, "-" takes them out of theirs')
    .action((group: string, references: string[]) => regroup(frame, group, references));
  target
    .command('approve <T>')
    .description('let the agent key that waits speak for its machine (when "approve" is "operator")')
    .requiredOption('--key <digest>', "the key, as the machine's screen shows it")
    .action((reference: string, options: { key: string }) => approve(frame, reference, options.key));
  target
    .command('delete <T>')
    .description('forget a target; it is discovered again when it boots from the network')
    .option('--yes', 'do not ask')
    .action((reference: string, options: { yes?: boolean }) => remove(frame, reference, options.yes ?? false));
}

async function list(frame: Frame): Promise<void> {
  const items = await readPages<TargetView>(await frame.connect(), '/api/v1/targets');
  frame.print({ items, next: null } as unknown as Json, () =>
    table(
      ['NAME', 'MAC', 'STATE', 'ORDER', 'SERVER', 'GROUP', 'SEEN', 'ID'],
      items.map((item) => [item.name, item.macs[0], stateOf(item), item.order?.state, item.server, item.group, item.seenAt, item.id]),
    ),
  );
}

async function show(frame: Frame, reference: string): Promise<void> {
  const client = await frame.connect();
  printTarget(frame, await client.get<TargetView>(pathOf(reference)));
}

async function add(frame: Frame, name: string, { mac, ...facts }: AddOptions): Promise<void> {
  const client = await frame.connect();
  printTarget(frame, await client.post<TargetView>('/api/v1/targets', { name, ...facts, ...(mac === undefined ? {} : { macs: mac }) }));
}

async function regroup(frame: Frame, group: string, references: readonly string[]): Promise<void> {
  const client = await frame.connect();
  const items: TargetView[] = [];
  for (const reference of references) {
    items.push(await client.put<TargetView>(`${pathOf(reference)}/group`, { group: group === '-' ? null : group }));
  }
  frame.print({ items, next: null } as unknown as Json, () =>
    items.map((item) => `${item.name ?? item.id}: ${item.group ?? 'no group'}`).join('\n'),
  );
}

async function approve(frame: Frame, reference: string, keyId: string): Promise<void> {
  const client = await frame.connect();
  const approved = await client.post<{ targetId: string; keyId: string }>(`${pathOf(reference)}/approve`, { keyId });
  frame.print(approved, `approved: ${approved.keyId} speaks for ${approved.targetId}`);
}

async function remove(frame: Frame, reference: string, isAgreed: boolean): Promise<void> {
  const client = await frame.connect();
  await frame.confirm(`Forget target ${reference}?`, isAgreed);
  const gone = await client.delete<TargetView>(pathOf(reference));
  frame.print(gone as unknown as Json, `forgotten: ${gone.name ?? gone.id}`);
}

function pathOf(reference: string): string {
  return `/api/v1/targets/${encodeURIComponent(reference)}`;
}

/** `engine, deploying 43 %`. */
function stateOf(target: TargetView): string {
  return [target.environment, target.activity].filter((part) => part !== '').join(', ');
}

function printTarget(frame: Frame, target: TargetView): void {
  const { inventory, order } = target;
  frame.print(target as unknown as Json, () =>
    details([
      ['name', target.name],
      ['id', target.id],
      ['server', target.server],
      ['group', target.group],
      ['state', stateOf(target)],
      ['order', order && `${order.state}: ${order.image} (${order.id})`],
      ...agentLines(target.agent),
      ['uuid', target.uuid],
      ['serial', target.serial],
      ['macs', target.macs.join(' ')],
      ['machine', [inventory?.manufacturer, inventory?.product].filter(Boolean).join(' ') || null],
      ['boots by', [target.firmware, target.arch].filter(Boolean).join(', ') || null],
      ['memory', inventory && formatBytes(inventory.memoryBytes)],
      ['disks', inventory?.disks.map((disk) => `${disk.name} ${formatBytes(disk.sizeBytes)}`).join(', ')],
      ['discovered by', target.discoveredBy],
      ['seen', target.seenAt],
    ]),
  );
}

function agentLines(agent: TargetView['agent']): [string, string][] {
  if (agent === null) return [];
  const { keyId, state, seenAt, refusedKeyId, refusedAt } = agent;
  const lines: [string, string][] = [
    ['agent key', state === 'bound' ? `${keyId}, heard of ${seenAt}` : `${keyId} waits: "target approve"`],
  ];
  if (refusedKeyId !== null) lines.push(['REFUSED', `a second key ${refusedKeyId} was turned away at ${refusedAt}`]);
  return lines;
}
