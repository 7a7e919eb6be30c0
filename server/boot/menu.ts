import { type BootAction, fillIn, type PlainDocument } from '../../core/document.ts';
import { AppError, describeError } from '../../core/errors.ts';
import { documentsInForce } from '../documents.ts';
import type { Site } from '../site.ts';
import type { Machine } from './machine.ts';
import { chainScript, linuxScript, type MenuLine, word } from './script.ts';

export type MenuEntry = Extract<PlainDocument, { type: 'menu' }>;

/** The boot menu as one machine is shown it, and what its entries may use by name. */
export type BootMenu = { readonly entries: readonly MenuEntry[]; readonly parameter: (name: string) => string | undefined };

/** Parameters that are there by themselves; no document takes their place. */
const OWN_PARAMETERS = { 'waystation.http': 'http', 'waystation.https': 'https' } as const;

/** The entries for such a machine, in their order. `urls` is where it reaches us. */
export async function readMenu(site: Site, machine: Machine, urls: { http: string; https: string }): Promise<BootMenu> {
  const documents = await documentsInForce(site);
  const values = new Map(documents.flatMap((one) => (one.type === 'parameter' ? [[one.name as string, one.content.value] as const] : [])));
  for (const [name, scheme] of Object.entries(OWN_PARAMETERS)) values.set(name, urls[scheme]);
  const entries = documents
    .filter((one) => one.type === 'menu')
    .filter(({ content }) => (content.arch ?? machine.arch) === machine.arch && (content.firmware ?? machine.firmware) === machine.firmware)
    .sort((a, b) => a.content.position - b.content.position || (a.name < b.name ? -1 : 1));
  return { entries, parameter: (name) => values.get(name) };
}

/** What the screen shows: entries that cannot be booted here (a parameter is missing, a value is no word) are left out and logged. */
export function usableLines(site: Pick<Site, 'log'>, menu: BootMenu): MenuLine[] {
  return menu.entries.filter((entry) => isUsable(site, menu, entry)).map(({ name, content }) => ({ name, title: content.title }));
}

function isUsable(site: Pick<Site, 'log'>, menu: BootMenu, entry: MenuEntry): boolean {
  try {
    const { boot } = entry.content;
    if (boot.kind === 'linux' || boot.kind === 'chain') scriptOf(menu, entry, boot, 'http://menu');
    return true;
  } catch (error) {
    site.log.warn('a boot menu entry is left out', { entry: entry.name, error: describeError(error).message });
    return false;
  }
}

/** The script of an entry that boots something of its own. Throws `bad_data` for a missing parameter or a value that no script may hold. */
export function scriptOf(
  menu: BootMenu,
  { name, content }: MenuEntry,
  boot: Extract<BootAction, { kind: 'linux' | 'chain' }>,
  httpUrl: string,
): string {
  const filled = (text: string) => fillIn(text, menu.parameter);
  const place = (text: string) => location(name, filled(text));
  const back = { title: content.title, httpUrl };
  if (boot.kind === 'chain') return chainScript(place(boot.location), back);
  const words = filled(boot.arguments).split(' ').filter(Boolean);
  return linuxScript({ kernel: place(boot.kernel), initrd: boot.initrd.map(place), words: words.map((one) => checked(name, one)) }, back);
}

function location(name: string, url: string): string {
  if (/^(https?|tftp):\/\/|^\//.test(url)) return checked(name, url);
  throw new AppError('bad_data', `menu entry ${name}: a location is http://, https://, tftp:// or a path of this server`, {
    hint: 'correct the document or its parameter',
  });
}

function checked(name: string, value: string): string {
  try {
    return word(value);
  } catch (cause) {
    throw new AppError('bad_data', `menu entry ${name}: a value has characters that a boot script must not have`, {
      hint: 'correct the document or its parameter',
      cause,
    });
  }
}
