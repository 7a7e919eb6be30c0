import { resolve } from 'node:path';
import type { Command } from 'commander';
import type { Json } from '../../core/canonical-json.ts';
import type { Site } from '../../server/site.ts';
import { askToReplace } from '../ask-to-replace.ts';
import type { Frame } from '../frame.ts';
import { runLongWork } from '../long-work.ts';
import { details, formatBytes, table } from '../output.ts';
import { wholeNumber } from '../parse.ts';
import { printReport, type ReportView } from '../report.ts';
import { work } from '../work.ts';
import { registerOffers } from './image-offers.ts';
import { registerVersions } from './image-versions.ts';
import { useOf, type VersionUse } from './sync-holdings.ts';

type ImageView = {
  readonly [key: string]: Json;
  readonly name: string;
  readonly version: string;
  readonly kind: string;
  readonly arch: string;
  readonly state: string;
  readonly manifest: string;
  readonly sizeBytes: number;
  readonly usedBytes: number;
  readonly storedBytes: number;
  readonly createdAt: string;
  /** Made here; shown by list and show. */
  readonly local?: boolean;
  /** The name of who made it, where it is known; shown by show. */
  readonly originName?: string;
  /** What it is for at this site; shown by list and show. */
  readonly role?: VersionUse['role'];
  readonly choice?: VersionUse['choice'];
  readonly activatesAt?: string | null;
  readonly wanted?: boolean;
  readonly verifiedAt: string | null;
};

type ImportOptions = {
  name: string;
  version?: string;
  arch?: string;
  sectorSize?: number;
  group?: string;
  activateAt?: string;
  ring?: number;
};

const EXITS = `
Exit codes: 0 done, 1 damage found, 64 usage, 65 not an image, truncated, backing file, name taken, 66 no such image or file,
69 show and delete: no server runs, 75 disk full or needed by an order, 77 belongs to another server, or a file through --url`;

/** `waystation image …`: import and export read and write files of the machine the server runs on. */
export function register(program: Command, frame: Frame): void {
  const image = program.command('image').description('disk images: import, look at, verify, export, delete').addHelpText('after', EXITS);
  image
    .command('import <file>')
    .description('take a raw disk, also .gz or .zst, or a qcow2 without a backing file; exit 65: not an image, name taken')
    .requiredOption('--name <name>', 'name of the image')
    .option('--version <version>', 'version (default: the next whole number)')
    .option('--arch <arch>', 'amd64 or arm64 (default amd64)')
    .option('--sector-size <bytes>', '512 or 4096 (default: as the partition table says)', wholeNumber)
    .option('--group <group>', 'a label that "sync scope" of branches can name')
    .option(
      '--activate-at <time>',
      'no site shows it before: ISO 8601, as in 2027-01-31T02:00:00Z; without Z or an offset on the clock of this site',
    )
    .option('--ring <n>', 'sites of this ring and lower ones first; "image release" shows it to more', wholeNumber)
    .action((file: string, options: ImportOptions) => importFile(frame, file, options));
  image
    .command('list')
    .description('all images, newest first')
    .action(() => list(frame));
  image
    .command('show <ref>')
    .description('one image by NAME[@VERSION]')
    .action((reference: string) => show(frame, reference));
  image
    .command('verify <ref>')
    .description('read and hash every chunk; exit 1 when something is damaged')
    .action((reference: string) => verify(frame, reference));
  image
    .command('export <ref>')
    .description('write the disk to a file, bit-identical')
    .requiredOption('--out <file>', 'the file to write; it appears when it is whole')
    .option('--yes', 'do not ask before a file is replaced')
    .action((reference: string, options: { out: string; yes?: boolean }) => exportTo(frame, reference, options));
  image
    .command('delete <ref>')
    .description('delete an image of this server, here and at its children; "store gc" frees the space')
    .option('--yes', 'do not ask')
    .action((reference: string, options: { yes?: boolean }) => remove(frame, reference, options.yes ?? false));
  registerOffers(image, frame);
  registerVersions(image, frame);
}

async function importFile(frame: Frame, file: string, options: ImportOptions): Promise<void> {
  const { name, version, arch, sectorSize, group, activateAt, ring } = options;
  const wish = { kind: 'import', path: resolve(file), name, version, arch, sectorSize, group, activateAt, ring } as const;
  const image = await runLongWork<ImageView>(frame, 'import', wish);
  frame.print(image, () => `${image.name}@${image.version}\n${describe(image)}`);
}

async function list(frame: Frame): Promise<void> {
  const items = await work(frame, {
    client: async (client) => (await client.get<{ items: ImageView[] }>('/api/v1/images')).items,
    site: listOffline,
  });
  frame.print({ items, next: null }, () => listing(items));
}

async function listOffline(site: Site): Promise<ImageView[]> {
  const { listHeldImages } = await import('../../server/images/held.ts');
  return (await listHeldImages(site)) as ImageView[];
}

async function show(frame: Frame, reference: string): Promise<void> {
  const image = await (await frame.connect()).get<ImageView>(`/api/v1/images/${encodeURIComponent(reference)}`);
  frame.print(image, () => describe(image));
}

async function verify(frame: Frame, reference: string): Promise<void> {
  const report = await runLongWork<ReportView>(frame, 'verify', { kind: 'verify', reference });
  printReport(frame, report);
}

async function exportTo(frame: Frame, reference: string, { out, yes }: { out: string; yes?: boolean }): Promise<void> {
  await askToReplace(frame, out, yes ?? false);
  const done = await runLongWork<{ image: ImageView; path: string }>(frame, 'export', { kind: 'export', reference, path: resolve(out) });
  frame.print(done, () => `${done.path}: ${formatBytes(done.image.sizeBytes)}`);
}

async function remove(frame: Frame, reference: string, isAgreed: boolean): Promise<void> {
  const client = await frame.connect();
  const path = `/api/v1/images/${encodeURIComponent(reference)}`;
  const { name, version } = await client.get<ImageView>(path);
  // The version is named in the question and in the request: "the newest" may be another one by then.
  const exact = `${name}@${version}`;
  await frame.confirm(`Delete image ${exact} here and on every server that copies from here?`, isAgreed);
  const deleted = await client.delete<ImageView>(`/api/v1/images/${encodeURIComponent(exact)}`);
  frame.print(deleted, `${exact} deleted`);
}

function listing(items: readonly ImageView[]): string {
  if (items.length === 0) return 'no images';
  const head = ['NAME', 'VERSION', 'KIND', 'ARCH', 'STATE', 'USE', 'SIZE', 'USED', 'CREATED', 'LOCAL'];
  const rows = items.map((one) => {
    const { name, version, kind, arch, state, sizeBytes, usedBytes, createdAt, local } = one;
    return [
      name,
      version,
      kind,
      arch,
      state,
      useText(one),
      formatBytes(sizeBytes),
      formatBytes(usedBytes),
      createdAt,
      local ? 'yes' : 'no',
    ];
  });
  return table(head, rows);
}

/** Null for who does not say: an image that was just imported. */
function useText({ role, choice, activatesAt, wanted }: ImageView): string | null {
  if (role === undefined) return null;
  return useOf({ role, choice: choice ?? null, activatesAt: activatesAt ?? null, wanted: wanted ?? true });
}

function describe(image: ImageView): string {
  return details([
    ['image', `${image.name}@${image.version}`],
    ['kind', `${image.kind}, ${image.arch}`],
    ['state', image.state],
    ...(image.role === undefined ? [] : [['use', useText(image)] as const]),
    ...(image.local === undefined ? [] : [['made', image.local ? 'here' : `by server ${image.originName ?? image.origin}`] as const]),
    ['manifest', image.manifest],
    ['size', formatBytes(image.sizeBytes)],
    ['used', formatBytes(image.usedBytes)],
    ['stored', formatBytes(image.storedBytes)],
    ['created', image.createdAt],
    ['verified', image.verifiedAt],
  ]);
}
