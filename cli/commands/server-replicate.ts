import type { Command } from 'commander';
import type { Json } from '../../core/canonical-json.ts';
import type { StartedRun } from '../../server/panel/replicate.ts';
import type { Frame } from '../frame.ts';

/** A run at a server below, from here: what the console calls "Replicate now". */
export function registerReplicate(server: Command, frame: Frame): void {
  server
    .command('replicate <server>')
    .description('start a replication run at this server or at one below it, by name or id; its own word is the answer')
    .addHelpText('after', '\nExit codes: 0 begun, 66 no such server, 69 it does not answer, 75 a run is in progress, 83 it is paused')
    .action(async (reference: string) => {
      const client = await frame.connect();
      const run = await client.post<StartedRun>(`/api/v1/servers/${encodeURIComponent(reference)}/runs`);
      frame.print(run as unknown as Json, () => `${run.server}: run ${run.id} has begun`);
    });
}
