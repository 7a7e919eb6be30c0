import type { Command } from 'commander';
import type { Json } from '../../core/canonical-json.ts';
import { AppError } from '../../core/errors.ts';
import type { SourceView } from '../../server/sources.ts';
import type { Frame } from '../frame.ts';
import { formatBytes, table } from '../output.ts';

/** `waystation server source`: who else gives content. Needs a running server. */
export function registerSources(server: Command, frame: Frame): void {
  const source = server.command('source').description('further servers that content may come from when the parent is away or slow');
  source
    .command('list', { isDefault: true })
    .description('in the order in which they are asked')
    .action(() => list(frame));
  source
    .command('add <url>')
    .description('take content from there: a sibling, or a server above the parent; never a parent')
    .option('--enrol-file <file>', 'the token that "server token" printed there, - for standard input (or WAYSTATION_ENROL_TOKEN)')
    .action((url: string, options: { enrolFile?: string }) => add(frame, url, options.enrolFile));
  source
    .command('remove <server>')
    .description('take no content from there any more')
    .action((reference: string) => remove(frame, reference));
}

async function list(frame: Frame): Promise<void> {
  const { items } = await (await frame.connect()).get<{ items: SourceView[] }>('/api/v1/sources');
  const rate = ({ bytesPerSecond }: SourceView) => (bytesPerSecond === null ? null : `${formatBytes(bytesPerSecond)}/s`);
  frame.print({ items, next: null } as unknown as Json, () =>
    items.length === 0
      ? 'no further sources'
      : table(
          ['SOURCE', 'URL', 'GAVE', 'ID'],
          items.map((one) => [one.name, one.url, rate(one), one.id]),
        ),
  );
}

async function add(frame: Frame, url: string, enrolFile: string | undefined): Promise<void> {
  const token = enrolFile === undefined ? frame.env['WAYSTATION_ENROL_TOKEN'] : await frame.readSecret(enrolFile, 'the enrolment token');
  if (!token)
    throw new AppError('usage', 'no enrolment token was given', { hint: 'give --enrol-file FILE, or - and the token on standard input' });
  const source = await (await frame.connect()).post<SourceView>('/api/v1/sources', { url, token });
  frame.print(source, `content may come from ${source.name}, too`);
}

async function remove(frame: Frame, reference: string): Promise<void> {
  const source = await (await frame.connect()).delete<SourceView>(`/api/v1/sources/${encodeURIComponent(reference)}`);
  frame.print(source, `no content comes from ${source.name} any more`);
}
