import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import type { Json } from '../../core/canonical-json.ts';
import { AppError } from '../../core/errors.ts';
import type { DocumentView } from '../../server/api/routes/documents.ts';
import type { Frame } from '../frame.ts';
import { details, table } from '../output.ts';

type SetOptions = { file?: string; value?: string };

const EXITS = `
Exit codes: 0 done, 64 usage, also content that is not of the type, 66 not found, 69 no server runs,
77 a copy of another server's document`;

/** `waystation document …`: boot menu entries and parameters, which replicate like images. */
export function register(program: Command, frame: Frame): void {
  const document = program
    .command('document')
    .description('small things that replicate: boot menu entries (menu) and values for them (parameter)')
    .addHelpText('after', EXITS);
  document
    .command('list')
    .description('all that are in force here')
    .action(() => list(frame));
  document
    .command('show <type> <name>')
    .description('one document')
    .action((type: string, name: string) => show(frame, type, name));
  document
    .command('set <type> <name>')
    .description('make it or give it new content; the children have it after their next run')
    .option('--file <file>', 'its content, JSON; - for standard input')
    .option('--value <text>', 'the value of a parameter')
    .action((type: string, name: string, options: SetOptions) => set(frame, { type, name }, options));
  document
    .command('delete <type> <name>')
    .description('delete it, here and at the children')
    .option('--yes', 'do not ask')
    .action((type: string, name: string, options: { yes?: boolean }) => remove(frame, { type, name }, options.yes ?? false));
}

type Which = { readonly type: string; readonly name: string };

const pathOf = ({ type, name }: Which) => `/api/v1/documents/${encodeURIComponent(type)}/${encodeURIComponent(name)}`;

async function list(frame: Frame): Promise<void> {
  const { items } = await (await frame.connect()).get<{ items: DocumentView[] }>('/api/v1/documents');
  frame.print({ items, next: null } as unknown as Json, () =>
    items.length === 0 ? 'no documents' : table(['TYPE', 'NAME', 'LOCAL', 'CONTENT'], items.map(row)),
  );
}

function row({ type, name, local, content }: DocumentView): string[] {
  return [type, name, local ? 'yes' : 'no', 'title' in content ? `${content.title} (${content.boot.kind})` : content.value];
}

async function show(frame: Frame, type: string, name: string): Promise<void> {
  print(frame, await (await frame.connect()).get<DocumentView>(pathOf({ type, name })));
}

async function set(frame: Frame, which: Which, options: SetOptions): Promise<void> {
  const content = await contentOf(frame, options);
  print(frame, await (await frame.connect()).put<DocumentView>(pathOf(which), { content }));
}

async function contentOf(frame: Frame, { file, value }: SetOptions): Promise<Json> {
  if ((file === undefined) === (value === undefined)) {
    throw new AppError('usage', 'the content is given by --file or by --value', { hint: 'give one of them' });
  }
  if (value !== undefined) return { value };
  try {
    return JSON.parse(file === '-' ? await frame.readText() : await readFile(file as string, 'utf8')) as Json;
  } catch (cause) {
    const why = (cause as NodeJS.ErrnoException).code ?? 'it is not JSON';
    throw new AppError('usage', `cannot read the content from ${file}: ${why}`, {
      hint: 'docs/operations.md shows one of each type',
      cause,
    });
  }
}

async function remove(frame: Frame, which: Which, isAgreed: boolean): Promise<void> {
  await frame.confirm(`Delete ${which.type} ${which.name} here and on every server that copies from here?`, isAgreed);
  const deleted = await (await frame.connect()).delete<DocumentView>(pathOf(which));
  frame.print(deleted as unknown as Json, `${which.type} ${which.name} deleted`);
}

function print(frame: Frame, document: DocumentView): void {
  frame.print(document as unknown as Json, () =>
    details([
      ['document', `${document.type} ${document.name}`],
      ['made', document.local ? 'here' : `by server ${document.origin}`],
      ['revision', document.revision],
      ['content', JSON.stringify(document.content)],
    ]),
  );
}
