import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { it } from 'node:test';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
/** Where differences between databases are allowed to live (docs/architecture.md, style §10). */
const HELPERS = /^server\/(lock|db\/(open|migrate|dialect-[a-z]+|sqlite-worker))\.ts$/;
/** What only some databases know, as knex call or SQL word. */
const DIALECT =
  /\.returning\(|\.whereJson|\.jsonExtract|\bON DUPLICATE\b|\bINSERT OR\b|\bSKIP LOCKED\b|\bPRAGMA\b|\bIFNULL\(|\bjson_extract\(|(?<!\.)\bNOW\(\)|\bTIMESTAMPDIFF\(|\bUTC_TIMESTAMP|\bUNIXEPOCH\(|\bJULIANDAY\(|\bwsrep_|\bSHOW (GLOBAL|STATUS|VARIABLES)|\bsqlite_master\b|\bAUTO_?INCREMENT\b|\.increments\(|\.timestamps?\(|\b(GET|RELEASE)_LOCK\(/i;

it('repositories and migrations use only what every database of ours understands', async () => {
  const paths = (await Promise.all(['server', 'migrations'].map(listFiles))).flat().filter((path) => !HELPERS.test(path));
  assert.ok(paths.length > 10);
  const found: string[] = [];
  for (const path of paths) {
    const text = await readFile(join(ROOT, path), 'utf8');
    for (const [index, line] of text.split('\n').entries())
      if (DIALECT.test(line) && /db|trx|\bt\./.test(line)) found.push(`${path}:${index + 1}: ${line.trim()}`);
  }
  assert.deepEqual(found, []);
});

async function listFiles(directory: string): Promise<readonly string[]> {
  const names = await readdir(join(ROOT, directory), { recursive: true });
  return names.filter((name) => name.endsWith('.ts')).map((name) => `${directory}/${name}`);
}
