import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type Id, isId } from '../../core/ids.ts';
import { brokenKeyFile, pemBlock, pemBlocks, readSecretFile, writeSecretFile } from './key-files.ts';

/** What a parent issued to us: our client certificate for it with its key, and the parent's CA, PEM. */
export type ParentCredentials = { readonly keyPem: string; readonly certPem: string; readonly caPem: string };

/** All parents' credentials in a directory of `<server id>.pem`, each one file so that a renewal is one rename. */
export async function readParentCredentials(directory: string): Promise<Map<Id, ParentCredentials>> {
  const found = new Map<Id, ParentCredentials>();
  for (const file of await listDirectory(directory)) {
    const id = file.slice(0, -4);
    if (file.endsWith('.pem') && isId(id)) found.set(id, parse(join(directory, file), await readSecretFile(join(directory, file))));
  }
  return found;
}

export async function writeParentCredentials(directory: string, parentId: Id, credentials: ParentCredentials): Promise<void> {
  const blocks = [credentials.keyPem, credentials.certPem, credentials.caPem].map((pem) => `${pem.trim()}\n`);
  await writeSecretFile(join(directory, `${parentId}.pem`), blocks.join(''));
}

export async function removeParentCredentials(directory: string, parentId: Id): Promise<void> {
  await rm(join(directory, `${parentId}.pem`), { force: true });
}

function parse(path: string, text: string): ParentCredentials {
  const keyPem = pemBlock(text, 'PRIVATE KEY');
  const [certPem, caPem] = pemBlocks(text, 'CERTIFICATE');
  if (!keyPem || !certPem || !caPem) throw brokenKeyFile(path, 'must hold a private key, our certificate and the CA of the parent');
  return { keyPem, certPem, caPem };
}

async function listDirectory(path: string): Promise<string[]> {
  try {
    return (await readdir(path)).sort();
  } catch (error) {
    // A server that never joined a parent has no such directory.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw brokenKeyFile(path, 'cannot be listed', error);
  }
}
