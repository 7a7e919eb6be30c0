import { type Command, InvalidArgumentError } from 'commander';
import type { Json } from '../../core/canonical-json.ts';
import { AppError } from '../../core/errors.ts';
import type { Frame } from '../frame.ts';
import { wholeNumber } from '../parse.ts';

type Version = { readonly [key: string]: Json; readonly name: string; readonly version: string };

/** Which version of a name this site uses: verbs of `waystation image`. They need a running server. */
export function registerVersions(image: Command, frame: Frame): void {
  image
    .command('pin <ref>')
    .description('NAME@VERSION is the default of its name here until it is unpinned, and its content is kept')
    .action((reference: string) => change(frame, reference, { verb: 'pin', says: 'is pinned' }));
  image
    .command('unpin <name>')
    .description('take a pin or a rollback back')
    .action((name: string) => unpin(frame, name));
  image
    .command('rollback <name>')
    .description('the version before the present one is the default here, until the next activation or unpin')
    .action((name: string) => change(frame, name, { verb: 'rollback', says: 'is the default again' }));
  image
    .command('activate <ref>')
    .description('NAME@VERSION becomes the default here, now or at a time; exit 65 while the name is pinned')
    .option('--at <time>', 'ISO 8601, as in 2027-01-31T02:00:00Z; without Z or an offset on the clock of the site', isoTime)
    .option('--now', 'at once (the default)')
    .action((reference: string, options: { at?: string; now?: boolean }) => activate(frame, reference, options));
  image
    .command('release <ref>')
    .description("show a version of this server's own to more sites; exit 77 for a copy")
    .option('--ring <n>', 'to this ring and all lower ones; 0 are the pilots', wholeNumber)
    .option('--all', 'to all sites')
    .option('--at <time>', 'from then on (default: now); as in activate', isoTime)
    .action((reference: string, options: { ring?: number; all?: boolean; at?: string }) => release(frame, reference, options));
}

type Verb = { readonly verb: string; readonly says: string; readonly body?: Record<string, Json | undefined> };

async function change(frame: Frame, reference: string, { verb, says, body = {} }: Verb): Promise<void> {
  const path = `/api/v1/images/${encodeURIComponent(reference)}/${verb}`;
  const image = await (await frame.connect()).post<Version>(path, body);
  frame.print(image, `${image.name}@${image.version} ${says}`);
}

async function unpin(frame: Frame, name: string): Promise<void> {
  const path = `/api/v1/images/${encodeURIComponent(name)}/unpin`;
  const { image } = await (await frame.connect()).post<{ image: Version | null }>(path);
  frame.print({ image }, image === null ? `no version of ${name} is the default now` : `${image.name}@${image.version} is the default now`);
}

async function activate(frame: Frame, reference: string, { at, now }: { at?: string; now?: boolean }): Promise<void> {
  if (at !== undefined && now) throw new AppError('usage', '--at and --now exclude each other');
  const says = at === undefined ? 'is the default now' : `becomes the default at ${at}`;
  await change(frame, reference, { verb: 'activate', says, body: at === undefined ? {} : { at } });
}

async function release(frame: Frame, reference: string, options: { ring?: number; all?: boolean; at?: string }): Promise<void> {
  const { ring, all = false, at } = options;
  if ((ring === undefined) !== all) throw new AppError('usage', 'say to whom: either --ring N or --all');
  const says = `is released to ${ring === undefined ? 'all sites' : `ring ${ring} and lower`}${at === undefined ? '' : ` from ${at}`}`;
  await change(frame, reference, { verb: 'release', says, body: { ring: ring ?? null, ...(at === undefined ? {} : { at }) } });
}

/** As it was given: without a zone the server knows which moment it is, we do not. */
function isoTime(text: string): string {
  if (/^\d{4}-\d{2}-\d{2}T/.test(text) && Number.isFinite(Date.parse(text))) return text;
  throw new InvalidArgumentError('It must be a time as in 2027-01-31T02:00:00Z.');
}
