import Rsync from 'rsync';

/**
 * The argument list of rsync for one part: the file `part` of the parent's module `parts` into the working
 * directory, continuing what is there. `remoteShell` is the pipe's own argument list; rsync splits `--rsh` on
 * spaces itself and knows single quotes, doubled inside them, so any path survives. It stands outside the
 * builder, whose quoting is for a shell that we do not use. No other value here holds a special character.
 */
export function rsyncArguments(request: { readonly part: string; readonly remoteShell: readonly string[] }): string[] {
  const builder = new Rsync()
    .set('partial')
    .set('append-verify')
    .set('fsync')
    .set('no-links')
    .set('no-devices')
    .set('no-specials')
    .set('no-motd')
    .set('timeout', '60')
    .source(`${HOST}::${MODULE}/${request.part}`)
    .destination('./');
  return [`--rsh=${request.remoteShell.map(quoteWord).join(' ')}`, ...builder.args()];
}

/** What the parent's daemon calls its one module. */
export const MODULE = 'parts';
/** rsync wants a host; the pipe ignores it. */
const HOST = 'parent';

function quoteWord(word: string): string {
  return `'${word.replaceAll("'", "''")}'`;
}
