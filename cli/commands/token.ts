import type { Command } from 'commander';
import { OPERATOR_ROLES, type OperatorRole } from '../../core/authorise.ts';
import type { Json } from '../../core/canonical-json.ts';
import { AppError } from '../../core/errors.ts';
import { isName, NAME_RULE } from '../../core/ids.ts';
import { type MadeTokenView, makeToken, revokeToken, type TokenView, viewTokens } from '../../server/api/routes/operator-tokens.ts';
import type { Frame } from '../frame.ts';
import { details, table } from '../output.ts';
import { duration, oneOf } from '../parse.ts';
import { createSecretFile, type SecretFile } from '../secret-file.ts';
import { work } from '../work.ts';

const EXITS = `
Exit codes: 0 done, 64 usage or the file is there already, 65 name taken, 66 not found, 69 not reachable, 77 not permitted`;
const PATH = '/api/v1/operator-tokens';

type Wanted = { readonly name: string; readonly role: OperatorRole; readonly ttlSeconds: number | null };
type Options = { readonly role: OperatorRole; readonly ttl?: number; readonly file?: string };

/** `waystation token …`: what people and scripts show to be operators of this server. */
export function register(program: Command, frame: Frame): void {
  const token = program
    .command('token')
    .description('operator tokens: what people and scripts show to be operators of this server')
    .addHelpText('after', EXITS);
  token
    .command('create <name>')
    .description('make one; it is printed once, or written to a file, and kept nowhere')
    .option(
      '--role <role>',
      `${OPERATOR_ROLES.join(', ')} (default viewer: may look and change nothing)`,
      oneOf(...OPERATOR_ROLES),
      'viewer',
    )
    .option('--ttl <time>', 'how long it counts: 12h, 90d (default: until it is revoked; at most 3650d)', duration(3650))
    .option('--file <file>', 'write it to this new file, readable by its owner alone, and do not print it')
    .addHelpText('after', EXITS)
    .action((name: string, options: Options) => create(frame, name, options));
  token
    .command('list')
    .description('list them: name, role, when made and used last; never the tokens themselves')
    .action(() => list(frame));
  token
    .command('revoke <token>')
    .description('take its rights away at once, by name or id; browsers that signed in with it are signed out')
    .option('--yes', 'do not ask')
    .addHelpText('after', EXITS)
    .action((reference: string, options: { yes?: boolean }) => revoke(frame, reference, options.yes ?? false));
}

async function create(frame: Frame, name: string, { role, ttl, file }: Options): Promise<void> {
  if (!isName(name)) throw new AppError('usage', NAME_RULE.words);
  const wanted = { name, role, ttlSeconds: ttl ?? null };
  // Before the token: a file that cannot be made costs none.
  const secret = file === undefined ? undefined : await createSecretFile(file);
  const { token, ...made } = await make(frame, wanted, secret);
  if (file === undefined) frame.print({ ...made, token }, token);
  else frame.print({ ...made, file }, `operator token ${name} is in ${file}`);
  const until = ttl === undefined ? 'until it is revoked' : 'until it expires or is revoked';
  frame.say(`It makes its holder ${role === 'viewer' ? 'a' : 'an'} ${role} of this server, ${until}, and is shown this once.`);
}

async function make(frame: Frame, wanted: Wanted, secret: SecretFile | undefined): Promise<MadeTokenView> {
  let made: MadeTokenView | undefined;
  try {
    made = await work<MadeTokenView>(frame, {
      client: (client) => client.post<MadeTokenView>(PATH, wanted),
      site: (site) => makeToken(site, wanted, 'local-admin'),
    });
    await secret?.write(`${made.token}\n`);
    return made;
  } catch (error) {
    await secret?.remove();
    // Nobody has it: a token that is in no hand is none.
    if (made !== undefined) await take(frame, made.id);
    throw error;
  }
}

async function list(frame: Frame): Promise<void> {
  const items = await work(frame, {
    client: async (client) => (await client.get<{ items: TokenView[] }>(PATH)).items,
    site: viewTokens,
  });
  frame.print({ items, next: null } as unknown as Json, () =>
    table(
      ['NAME', 'ROLE', 'STATE', 'CREATED', 'LAST USED', 'EXPIRES', 'ID'],
      items.map(({ name, role, state, createdAt, lastUsedAt, expiresAt, id }) => [
        ...[name, role, state, createdAt, lastUsedAt ?? 'never', expiresAt, id],
      ]),
    ),
  );
}

async function revoke(frame: Frame, reference: string, isAgreed: boolean): Promise<void> {
  await frame.confirm(`Revoke operator token ${reference}? Whoever uses it is refused from now on.`, isAgreed);
  const revoked = await take(frame, reference);
  const { name, id, state, revokedAt } = revoked;
  frame.print(revoked as unknown as Json, () => details(Object.entries({ name, id, state, revoked: revokedAt })));
}

function take(frame: Frame, reference: string): Promise<TokenView> {
  return work(frame, {
    client: (client) => client.post<TokenView>(`${PATH}/${encodeURIComponent(reference)}/revoke`),
    site: (site) => revokeToken(site, reference, 'local-admin'),
  });
}
