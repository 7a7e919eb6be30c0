import type { Command } from 'commander';
import type { Json } from '../../core/canonical-json.ts';
import type { ErrorCode } from '../../core/errors.ts';
import type { OrderView } from '../../server/orders/view.ts';
import type { Client } from '../client.ts';
import type { Frame } from '../frame.ts';
import { details, formatBytes, table } from '../output.ts';
import { wholeNumber } from '../parse.ts';

const EXITS = `
Exit codes: 0 done, 1 (with --wait) the order failed or was stopped, 64 usage, 65 does not fit or the target has
an order already, 66 no such target, image or order, 69 not running, 77 denied`;

const ENDED: ReadonlySet<string> = new Set(['current', 'failed', 'stopped']);

export function register(program: Command, frame: Frame): void {
  const order = program.command('order').description('what is to be done to which target').addHelpText('after', EXITS);
  order
    .command('create')
    .description('deploy an image to a target')
    .requiredOption('--target <target>', 'id, name, UUID or MAC address')
    .requiredOption('--image <image>', 'NAME[@VERSION], the newest published one without a version')
    .option('--disk <name>', 'kernel name of the disk, vda or nvme0n1 (default: the smallest fixed disk that fits)')
    .option('--wait', 'follow it to its end')
    .action((options: { target: string; image: string; disk?: string; wait?: boolean }) => create(frame, options));
  order
    .command('list')
    .description('list orders, newest first')
    .option('--target <target>', 'only those of this target')
    .option('--limit <n>', 'at most so many (default 100)', wholeNumber)
    .option('--before <id>', 'those made before this one: the "next" of the page before')
    .action((options: { target?: string; limit?: number; before?: string }) => list(frame, options));
  order
    .command('show <order>')
    .description('show one order')
    .option('--wait', 'follow it to its end')
    .action((id: string, options: { wait?: boolean }) => show(frame, id, options.wait ?? false));
  order
    .command('stop <order>')
    .description('stop an order; a disk that is half written stays half written')
    .option('--yes', 'do not ask')
    .action((id: string, options: { yes?: boolean }) => stop(frame, id, options.yes ?? false));
}

async function create(frame: Frame, options: { target: string; image: string; disk?: string; wait?: boolean }): Promise<void> {
  const client = await frame.connect();
  const { target, image, disk } = options;
  const made = await client.post<OrderView>('/api/v1/orders', { target, image, ...(disk === undefined ? {} : { disk }) });
  if (options.wait !== true) return printOrder(frame, made);
  frame.say(`order ${made.id}: ${made.image} to ${made.target}`);
  await finish(frame, await follow(frame, client, made));
}

async function list(frame: Frame, options: { target?: string; limit?: number; before?: string }): Promise<void> {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(options)) query.set(key, String(value));
  const client = await frame.connect();
  const page = await client.get<{ items: OrderView[]; next: string | null }>(`/api/v1/orders?${query}`);
  frame.print(page as unknown as Json, () =>
    table(
      ['ORDER', 'STATE', 'TARGET', 'IMAGE', 'SERVER', 'PROGRESS', 'CREATED'],
      page.items.map((item) => [
        item.id,
        item.state,
        item.target,
        item.image,
        item.server,
        item.note ?? progressText(item),
        item.createdAt,
      ]),
    ),
  );
}

async function show(frame: Frame, id: string, isFollowed: boolean): Promise<void> {
  const client = await frame.connect();
  const order = await client.get<OrderView>(pathOf(id));
  if (isFollowed) await finish(frame, await follow(frame, client, order));
  else printOrder(frame, order);
}

async function stop(frame: Frame, id: string, isAgreed: boolean): Promise<void> {
  await frame.confirm(`Stop order ${id}? What is written of its disk stays as it is.`, isAgreed);
  const client = await frame.connect();
  printOrder(frame, await client.post<OrderView>(`${pathOf(id)}/stop`));
}

/** Asks for each change until the order has ended; shows a bar on a terminal. */
async function follow(frame: Frame, client: Client, order: OrderView): Promise<OrderView> {
  const bar = frame.progress(order.target);
  let seen = order;
  try {
    while (!ENDED.has(seen.state) && !frame.signal.aborted) {
      if (seen.progress !== null) bar.update(seen.progress);
      seen = await client.get<OrderView>(`${pathOf(seen.id)}?after=${seen.revision}`);
    }
  } finally {
    bar.stop();
  }
  return seen;
}

async function finish(frame: Frame, order: OrderView): Promise<void> {
  printOrder(frame, order);
  const outcome: Record<string, ErrorCode> = { failed: 'failed', stopped: 'cancelled' };
  const code = outcome[order.state];
  if (code !== undefined) frame.setOutcome(code);
}

function printOrder(frame: Frame, order: OrderView): void {
  frame.print(order as unknown as Json, () =>
    details([
      ['order', order.id],
      ['state', order.silentSince === null ? order.state : `${order.state}, its agent is silent since ${order.silentSince}`],
      ['target', order.target],
      ['server', order.server],
      ['image', order.image],
      ['progress', progressText(order)],
      ['speed', speedText(order)],
      ...(order.note === null ? [] : ([['note', order.note]] as const)),
      ...(order.error === null ? [] : ([['error', errorText(order.error)]] as const)),
      ['created', order.createdAt],
      ['ended', order.endedAt],
    ]),
  );
}

function errorText(error: { message: string; hint?: string | undefined }): string {
  return error.hint === undefined ? error.message : `${error.message} (${error.hint})`;
}

function progressText({ state, progress, diskWritten }: OrderView): string | null {
  if (state === 'installing' && diskWritten) return 'disk written, waiting for the call of the deployed system';
  return progress === null ? null : `${progress.stage} ${progress.percent} %`;
}

function speedText({ figures }: OrderView): string | null {
  const speed = figures?.['bytesPerSecond'];
  return speed === undefined || speed === 0 ? null : `${formatBytes(speed)}/s to the disk`;
}

function pathOf(id: string): string {
  return `/api/v1/orders/${encodeURIComponent(id)}`;
}
