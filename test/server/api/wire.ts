import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { type AddressInfo, connect, createServer } from 'node:net';
import { userInfo } from 'node:os';

export type Wire = {
  /** Everything that went over the watched ports, both ways, as it was sent. Ends the capture. */
  stop(): Promise<Buffer>;
};

/**
 * Captures what goes over these ports of the loopback interface with tcpdump; undefined for users (and containers)
 * that may not: they have the relay.
 */
export async function captureLoopback(ports: readonly number[], file: string): Promise<Wire | undefined> {
  const program = spawnSync('sh', ['-c', 'PATH="$PATH:/usr/sbin:/usr/bin" command -v tcpdump'], { encoding: 'utf8' }).stdout.trim();
  if (userInfo().uid !== 0 || program === '') return undefined;
  const filter = ports.map((port) => `port ${port}`).join(' or ');
  const tcpdump = spawn(program, ['-i', 'lo', '--immediate-mode', '-U', '-s', '0', '-B', '65536', '-Z', 'root', '-w', file, filter], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const exited = once(tcpdump, 'exit');
  let said = '';
  const isListening = await new Promise<boolean>((resolve) => {
    tcpdump.stderr.on('data', (data: Buffer) => {
      said += String(data);
      if (said.includes('listening on')) resolve(true);
    });
    tcpdump.once('exit', () => resolve(false));
  });
  if (!isListening) return undefined;
  return {
    stop: async () => {
      tcpdump.kill('SIGINT');
      await exited;
      return readFile(file);
    },
  };
}

/** A TCP relay before a server that keeps what passes. `url` is the relay's. */
export async function startRelay(target: string): Promise<Wire & { readonly url: string }> {
  const { protocol, port } = new URL(target);
  const seen: Buffer[] = [];
  const relay = createServer((near) => {
    const far = connect(Number(port), '127.0.0.1');
    near.on('data', (data) => seen.push(data));
    far.on('data', (data) => seen.push(data));
    near.pipe(far).pipe(near);
    near.on('error', () => far.destroy());
    far.on('error', () => near.destroy());
    near.on('close', () => far.destroy());
  }).listen(0, '127.0.0.1');
  await once(relay, 'listening');
  return {
    url: `${protocol}//127.0.0.1:${(relay.address() as AddressInfo).port}`,
    stop: async () => {
      relay.close();
      return Buffer.concat(seen);
    },
  };
}
