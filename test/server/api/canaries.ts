import { createPrivateKey } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** A secret that was planted, in every form in which it could come out. */
export type Canary = { readonly name: string; readonly forms: readonly Buffer[] };

export function textCanary(name: string, secret: string): Canary {
  if (secret.length < 12) throw new Error(`${name} is too short to be searched for`);
  const octets = Buffer.from(secret);
  return { name, forms: [octets, ...encoded(octets)] };
}

/** Every private key under DIR/keys: its PEM lines and its private number, raw and encoded. */
export async function keyCanaries(label: string, dataDir: string): Promise<Canary[]> {
  const found: Canary[] = [];
  for (const file of await readdir(join(dataDir, 'keys'), { recursive: true })) {
    if (!/\.(pem|key)$/.test(file)) continue;
    const text = await readFile(join(dataDir, 'keys', file), 'utf8');
    const pem = /-----BEGIN PRIVATE KEY-----([^-]+)-----END/.exec(text);
    if (!pem) continue;
    const number = Buffer.from(
      createPrivateKey(pem[0].replace(/-----END$/, '-----END PRIVATE KEY-----')).export({ format: 'jwk' }).d ?? '',
      'base64url',
    );
    const lines = (pem[1] ?? '').trim().split('\n').slice(1);
    found.push({ name: `${label} ${file}`, forms: [number, ...encoded(number), ...lines.map((line) => Buffer.from(line))] });
  }
  return found;
}

/** Which canaries a pile of octets holds, by name. */
export function sing(canaries: readonly Canary[], pile: Buffer): string[] {
  return canaries.filter(({ forms }) => forms.some((form) => form.length >= 12 && pile.includes(form))).map(({ name }) => name);
}

function encoded(octets: Buffer): Buffer[] {
  // Without the last characters: what follows the secret changes them.
  const forms = [octets.toString('hex'), octets.toString('base64').slice(0, -4), octets.toString('base64url').slice(0, -4)];
  return forms.map((form) => Buffer.from(form));
}
