/**
 * Which of the host's package sources we use: Debian's own archive, the suites of the host's release,
 * component main, and nothing of a third party. Mirrors, keyrings and options stay as the host has them.
 *
 * Source: sources.list(5), one-line and deb822 styles.
 */
export type HostSource = { readonly name: string; readonly text: string };

export type DebianSources = {
  /** One-line entries, a `sources.list`. */
  readonly list: string;
  /** Stanzas, a `.sources` file. */
  readonly stanzas: string;
};

function isDebianSuite(suite: string, codename: string): boolean {
  const base = suite.replace(/\/$/, '').replace(/(-updates|-security|\/updates)$/, '');
  return base === codename || base === 'stable' || base === 'oldstable';
}

/** `deb [options] uri suite components`, cut down to main; undefined for an entry that is not Debian's. */
function keepLine(line: string, codename: string): string | undefined {
  const found = line.match(/^\s*deb\s+(\[[^\]]*\]\s+)?(\S+)\s+(\S+)\s+([^#]*)/);
  if (!found) return undefined;
  const [, options = '', uri, suite = '', components = ''] = found;
  if (!isDebianSuite(suite, codename) || !components.split(/\s+/).includes('main')) return undefined;
  return `deb ${options}${uri} ${suite} main`;
}

/** Field names in lower case; continuation lines belong to the field before them, line breaks kept. */
function parseStanza(text: string): Map<string, string> {
  const fields = new Map<string, string>();
  let last = '';
  for (const line of text.split('\n')) {
    if (line.startsWith('#') || line.trim() === '') continue;
    const found = line.match(/^([A-Za-z][A-Za-z-]*):\s*(.*)$/);
    if (found?.[1] && found[2] !== undefined) {
      last = found[1].toLowerCase();
      fields.set(last, found[2]);
    } else if (last !== '') fields.set(last, `${fields.get(last)}\n${line}`);
  }
  return fields;
}

function words(text: string | undefined): string[] {
  return (text ?? '').split(/\s+/).filter((word) => word !== '');
}

function keepStanza(text: string, codename: string): string | undefined {
  const fields = parseStanza(text);
  const suites = words(fields.get('suites')).filter((suite) => isDebianSuite(suite, codename));
  const off = /^(no|false|0|off|without|disable)$/i.test(fields.get('enabled')?.trim() ?? 'yes');
  if (off || suites.length === 0 || !words(fields.get('types')).includes('deb')) return undefined;
  if (!words(fields.get('components')).includes('main')) return undefined;
  fields.set('types', 'deb');
  fields.set('suites', suites.join(' '));
  fields.set('components', 'main');
  fields.delete('architectures');
  return [...fields].map(([name, value]) => `${name}: ${value}`).join('\n');
}

/**
 * Debian's own entries out of the host's source files (`.list` and `.sources` by name, others ignored).
 * Both texts are empty when the host has none for `codename` ("bookworm").
 */
export function selectDebianSources(sources: readonly HostSource[], codename: string): DebianSources {
  const list: string[] = [];
  const stanzas: string[] = [];
  for (const { name, text } of sources) {
    if (name.endsWith('.list')) list.push(...text.split('\n').flatMap((line) => keepLine(line, codename) ?? []));
    if (name.endsWith('.sources')) stanzas.push(...text.split(/\n\s*\n/).flatMap((stanza) => keepStanza(stanza, codename) ?? []));
  }
  return { list: list.map((line) => `${line}\n`).join(''), stanzas: stanzas.map((stanza) => `${stanza}\n`).join('\n') };
}
