import { readFile } from 'node:fs/promises';
import { describeError } from '../core/errors.ts';
import { openClient } from './client.ts';
import { parseCommandLine } from './cmdline.ts';
import { openIdentity } from './identity.ts';
import { runAgent } from './loop.ts';
import { MACHINE } from './machine.ts';
import { createPatience } from './patience.ts';

/*
 * The agent: the program that the engine runs, again and again, on a machine that booted from the network.
 * Everything of this room that touches the machine or the clock is put together here.
 */
const VERSION = '0.1.0';
/** Memory in the engine: gone with the next boot, and the key with it. */
const STATE_DIRECTORY = '/run/waystation';

function say(line: string): void {
  // The server's and the machine's words must not move the cursor of the console.
  process.stdout.write(`agent: ${line.replaceAll(/[^\x20-\x7e]/g, '?')}\n`);
}

try {
  const boot = parseCommandLine(await readFile('/proc/cmdline', 'utf8'));
  const identity = await openIdentity(STATE_DIRECTORY);
  say(`server ${boot.url}, key ${identity.keyId}`);
  const client = openClient(boot.url, boot.pin, identity);
  const patience = createPatience(1000, 15_000);
  const signal = new AbortController().signal;
  await runAgent({ client, machine: MACHINE, patience, bootId: boot.bootId, agentVersion: VERSION, say, signal });
} catch (error) {
  const { code, message, hint } = describeError(error);
  say(`${code}: ${message}${hint === undefined ? '' : ` (${hint})`}`);
  process.exitCode = 1;
}
