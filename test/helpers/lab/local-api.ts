import { request } from 'node:http';
import { join } from 'node:path';

/** Asks a running server's local socket: for polling, where starting the command line each time would eat the machine. */
export function getLocal<Document>(dataDir: string, path: string): Promise<Document> {
  return new Promise((resolve, reject) => {
    const call = request({ socketPath: join(dataDir, 'run', 'api.sock'), path, timeout: 30_000 }, (response) => {
      const parts: Buffer[] = [];
      response.on('data', (part: Buffer) => parts.push(part));
      response.on('error', reject);
      response.on('end', () => {
        const text = Buffer.concat(parts).toString();
        if (response.statusCode === 200) resolve(JSON.parse(text) as Document);
        else reject(new Error(`GET ${path}: ${response.statusCode} ${text}`));
      });
    });
    call.on('error', reject);
    call.end();
  });
}
