import { appendFileSync } from 'node:fs';
import { openClient } from '../../agent/client.ts';
import { openIdentity } from '../../agent/identity.ts';
import { runAgent } from '../../agent/loop.ts';
import { createPatience } from '../../agent/patience.ts';
import { machineWith } from './fixtures.ts';

/** The agent in a process of its own, to be killed. One argument: JSON of what it needs. */
export type ChildSetup = {
  readonly url: string;
  readonly pin: string;
  readonly bootId: string;
  readonly stateDirectory: string;
  readonly diskPath: string;
  readonly log: string;
};

const setup = JSON.parse(process.argv[2] ?? '{}') as ChildSetup;
const identity = await openIdentity(setup.stateDirectory);
const say = (line: string) => appendFileSync(setup.log, `${line}\n`);
await runAgent({
  client: openClient(setup.url, setup.pin as never, identity),
  machine: await machineWith(setup.diskPath),
  patience: createPatience(20, 100),
  bootId: setup.bootId as never,
  agentVersion: 'test',
  say,
  signal: new AbortController().signal,
});
process.exit(0);
