import type { Command } from 'commander';
import type { Json } from '../../core/canonical-json.ts';
import type { DeputyView } from '../../server/succession/deputy.ts';
import type { Frame } from '../frame.ts';

const EXITS =
  '\nExit codes: 0 done, 64 usage, or its address is not known: --address, 65 no child of this server, 66 not found, 69 not reachable';

/** Who may take this server's place when it is lost. Needs a running server. */
export function registerDeputy(server: Command, frame: Frame): void {
  const deputy = server
    .command('deputy')
    .description('the child that may take the place of this server when it is lost; the others follow it by themselves');
  deputy
    .command('show', { isDefault: true })
    .description('who it is')
    .action(async () => print(frame, await (await frame.connect()).get<DeputyView>('/api/v1/deputy')));
  deputy
    .command('set <server>')
    .description('name a child, or none: then nobody is believed to have taken the place, unless an operator says so at each server')
    .option('--address <url>', 'where the other servers reach it: https://HOST[:PORT]')
    .addHelpText('after', EXITS)
    .action(async (reference: string, { address }: { address?: string }) => {
      const wish = { server: reference === 'none' ? null : reference, ...(address === undefined ? {} : { url: address }) };
      print(frame, await (await frame.connect()).put<DeputyView>('/api/v1/deputy', wish));
    });
}

function print(frame: Frame, view: DeputyView): void {
  const { server, deputy, said } = view;
  const words =
    deputy === null ? (said ? 'nobody may take its place' : 'nobody is named') : `${deputy.name} may take its place, at ${deputy.url}`;
  frame.print(view as unknown as Json, `${server}: ${words}`);
}
