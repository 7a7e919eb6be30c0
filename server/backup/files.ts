import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isName } from '../../core/ids.ts';
import { CONFIG_FILE } from '../config.ts';
import { SERVER_ID_FILE } from '../server-id.ts';
import type { BackupWriter } from './write-file.ts';

const KEYS = ['ca.key', 'ca.pem', 'leaf.pem', 'signing.key'];

/**
 * Adds what of a data directory is neither database nor content: its id, configuration, keys, and the data sources that
 * are its own. Passwords are in none of these files: a password file is named by its path and stays where it is.
 */
export async function addFiles(writer: BackupWriter, dataDir: string): Promise<void> {
  const parents = (await namesIn(join(dataDir, 'keys', 'parent'))).filter((name) => /^[0-9a-f-]{36}\.pem$/.test(name));
  const sources = (await namesIn(join(dataDir, 'datasources.d'))).filter((name) => name.endsWith('.yaml') && isName(name.slice(0, -5)));
  const paths = [
    SERVER_ID_FILE,
    CONFIG_FILE,
    ...KEYS.map((name) => `keys/${name}`),
    ...parents.map((name) => `keys/parent/${name}`),
    ...sources.map((name) => `datasources.d/${name}`),
  ];
  for (const path of paths) await writer.add(`files/${path}`, [await readFile(join(dataDir, path))]);
}

async function namesIn(directory: string): Promise<string[]> {
  try {
    return (await readdir(directory)).sort();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}
