import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { AGENT_PROTOCOL } from '../../core/agent-protocol.ts';
import { SYNC_PROTOCOL } from '../../core/sync-protocol.ts';
import { NEWEST_SCHEMA } from '../../server/db/migrate.ts';
import type { Frame } from '../frame.ts';
import { details } from '../output.ts';

export function register(program: Command, frame: Frame): void {
  program
    .command('version')
    .description('the release, and what it speaks')
    .action(() => {
      const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string };
      const facts = {
        version,
        node: process.versions.node,
        syncProtocol: SYNC_PROTOCOL,
        agentProtocol: AGENT_PROTOCOL,
        schema: NEWEST_SCHEMA,
      };
      frame.print(facts, () => details(Object.entries(facts)));
    });
}
