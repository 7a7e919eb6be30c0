import { type Command, InvalidArgumentError } from 'commander';
import type { Json } from '../../core/canonical-json.ts';
import { AppError } from '../../core/errors.ts';
import type { Scope } from '../../core/scope.ts';
import type { Frame } from '../frame.ts';
import { details, formatBytes } from '../output.ts';

type ScopeOptions = { kinds?: string[]; names?: string[]; groups?: string[]; maxSize?: number; yes?: boolean };
type Entry = { readonly image: string; readonly usedBytes: number; readonly storedBytes: number };
type Change = { readonly scope: Scope; readonly released: readonly Entry[]; readonly fetched: readonly Entry[] };

/** `waystation sync scope`: of which images this site fetches the content. */
export function registerScope(sync: Command, frame: Frame): void {
  const scope = sync.command('scope').description('of which images the content is fetched; the rest is known and not held');
  scope
    .command('show', { isDefault: true })
    .description('show the scope')
    .action(() => show(frame));
  scope
    .command('set')
    .description('fetch only what fits all that is named here; asks when that gives up held content')
    .option('--kinds <list>', 'disk, tree, engine, with commas', list)
    .option('--names <list>', 'names or patterns with *, with commas', list)
    .option('--groups <list>', 'groups that images were imported with, with commas', list)
    .option('--max-size <size>', "of the image's data: 500MB, 20GB", bytes)
    .option('--yes', 'do not ask')
    .action((options: ScopeOptions) => set(frame, options));
  scope
    .command('clear')
    .description('fetch everything')
    .action(() => apply(frame, {}, true));
}

async function show(frame: Frame): Promise<void> {
  const { scope } = await (await frame.connect()).get<{ scope: Scope }>('/api/v1/links/scope');
  frame.print({ scope } as Json, () => scopeText(scope));
}

async function set(frame: Frame, { kinds, names, groups, maxSize, yes }: ScopeOptions): Promise<void> {
  const scope = {
    ...(kinds === undefined ? {} : { kinds }),
    ...(names === undefined ? {} : { names }),
    ...(groups === undefined ? {} : { groups }),
    ...(maxSize === undefined ? {} : { maxSizeBytes: maxSize }),
  };
  if (Object.keys(scope).length === 0) throw new AppError('usage', 'say what to fetch', { hint: '"sync scope clear" fetches everything' });
  await apply(frame, scope as Scope, yes ?? false);
}

async function apply(frame: Frame, scope: Scope, isAgreed: boolean): Promise<void> {
  const client = await frame.connect();
  const { released } = await client.put<Change>('/api/v1/links/scope', { scope, dryRun: true });
  if (released.length > 0) {
    const size = formatBytes(released.reduce((sum, { storedBytes }) => sum + storedBytes, 0));
    await frame.confirm(`Give up the content of ${released.map(({ image }) => image).join(', ')} (about ${size}) here?`, isAgreed);
  }
  const changed = await client.put<Change>('/api/v1/links/scope', { scope, dryRun: false });
  frame.print(changed as unknown as Json, () => `${scopeText(changed.scope)}\n${changeText(changed)}`);
}

function scopeText({ kinds, names, groups, maxSizeBytes }: Scope): string {
  return details([
    ['kinds', kinds?.join(', ') ?? 'all'],
    ['names', names?.join(', ') ?? 'all'],
    ['groups', groups?.join(', ') ?? 'all, and none'],
    ['largest', maxSizeBytes === undefined ? 'any size' : formatBytes(maxSizeBytes)],
  ]);
}

function changeText({ released, fetched }: Change): string {
  const names = (entries: readonly Entry[]) => (entries.length === 0 ? 'nothing' : entries.map(({ image }) => image).join(', '));
  return details([
    ['given up', names(released)],
    ['next run', names(fetched)],
  ]);
}

function list(text: string): string[] {
  const items = text.split(',').map((item) => item.trim());
  if (items.some((item) => item === '')) throw new InvalidArgumentError('It must be a list with commas.');
  return items;
}

/** `500MB`, `20GB`, powers of ten. */
function bytes(text: string): number {
  const match = /^(\d{1,12})(B|kB|MB|GB|TB)?$/i.exec(text);
  const power = ['b', 'kb', 'mb', 'gb', 'tb'].indexOf((match?.[2] ?? 'B').toLowerCase());
  const value = Number(match?.[1]) * 1000 ** power;
  if (match === null || !Number.isSafeInteger(value)) throw new InvalidArgumentError('It must be a size like 500MB or 20GB.');
  return value;
}
