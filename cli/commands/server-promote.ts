import type { Command } from 'commander';
import type { Json } from '../../core/canonical-json.ts';
import type { Promoted } from '../../server/succession/promotion.ts';
import type { Frame } from '../frame.ts';

type Options = { insteadOf?: string; evenIfAlive?: boolean; dryRun?: boolean; yes?: boolean };

const EXITS = `
Exit codes: 0 done, or so before; 64 usage, and with links alone: it must be asked at the server itself; 65 nobody is above it, the lost
one lives, or this server is fenced itself; 66 not found; 69 the shared database, or this server, is not reachable`;

/** The master is lost: another server takes its place. */
export function registerPromote(server: Command, frame: Frame): void {
  server
    .command('promote <server>')
    .description('make a server the master in the place of the one at the top above it, which is lost; that one is fenced when it returns')
    .option('--instead-of <server>', 'the one that is lost, when it is not the one at the top')
    .option('--even-if-alive', 'also when it was heard within the last minute')
    .option('--dry-run', 'show what would change, and change nothing')
    .option('--yes', 'do not ask')
    .addHelpText('after', EXITS)
    .action((reference: string, options: Options) => promote(frame, reference, options));
}

async function promote(frame: Frame, reference: string, { insteadOf, evenIfAlive, dryRun, yes }: Options): Promise<void> {
  const client = await frame.connect();
  const path = `/api/v1/servers/${encodeURIComponent(reference)}/promote`;
  const wish = { ...(insteadOf === undefined ? {} : { insteadOf }), evenIfAlive: evenIfAlive ?? false };
  if (dryRun !== true)
    await frame.confirm(`Promote server ${reference}? The one in whose place it comes makes nothing any more.`, yes ?? false);
  const promoted = await client.post<Promoted>(path, { ...wish, dryRun: dryRun ?? false });
  frame.print(promoted as unknown as Json, () => describe(promoted).join('\n'));
}

function describe({ server, insteadOf, by, changed, dryRun, moved, adopted }: Promoted): string[] {
  const would = dryRun ? 'would take' : changed ? 'takes' : 'took before';
  const parents = moved.map(({ server: one, from, to, managedBy }) => {
    const file = managedBy === null ? '' : ` (until now what ${managedBy} said)`;
    return `  ${one}: parent ${from ?? 'none'} -> ${to ?? 'none'}${file}`;
  });
  const objects = adopted === null ? [] : [`  ${adopted} objects of ${insteadOf} ${dryRun ? 'would be' : 'are'} signed anew by ${server}`];
  const next =
    by === 'link' && !dryRun
      ? [
          `Now at each other child of ${insteadOf}: waystation server join URL, with a token made here; and ${insteadOf} itself, when it is back`,
        ]
      : [];
  return [`${server} ${would} the place of ${insteadOf}`, ...parents, ...objects, ...next];
}
