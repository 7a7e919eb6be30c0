import { AppError } from '../../core/errors.ts';

/*
 * Archives cost this server's processor and push others out of its cache, and each subset of what a child says it has is another one. So
 * each server that asks has one build under way here, and begins so many in an hour; an archive that is asked for again counts once.
 */

const WINDOW_MS = 60 * 60_000;
/** A run asks for five at most, and repairs for single chunks now and then. */
const MOST_BEGUN = { archive: 100, chunks: 2_000 } as const;

export type Wanted = { readonly key: string; readonly what: keyof typeof MOST_BEGUN };

type Account = { under: string | undefined; readonly begun: Map<string, { readonly what: Wanted['what']; readonly atMs: number }> };

export type BuildTurns = {
  /**
   * Whether a server may begin this archive now; if so it is written down, until `end`. False while another one of its is under
   * way. Throws `busy` for too many in an hour.
   */
  begin(asker: string, wanted: Wanted): boolean;
  end(asker: string, key: string): void;
};

/** `now` is in ms and never goes back. */
export function createBuildTurns(now: () => number): BuildTurns {
  const accounts = new Map<string, Account>();
  return {
    begin(asker, { key, what }) {
      const account = accounts.get(asker) ?? { under: undefined, begun: new Map() };
      accounts.set(asker, account);
      if (account.under !== undefined) return false;
      const { begun } = account;
      for (const [old, { atMs }] of begun) if (now() - atMs >= WINDOW_MS) begun.delete(old);
      const count = [...begun.values()].filter((one) => one.what === what).length;
      if (!begun.has(key) && count >= MOST_BEGUN[what]) throw tooMany(asker, what);
      if (!begun.has(key)) begun.set(key, { what, atMs: now() });
      account.under = key;
      return true;
    },
    end(asker, key) {
      const account = accounts.get(asker);
      if (account?.under === key) account.under = undefined;
    },
  };
}

function tooMany(asker: string, what: Wanted['what']): AppError {
  return new AppError('busy', `server ${asker} has asked for ${MOST_BEGUN[what]} different archives within an hour`, {
    hint: 'run again later; revoke the server if it is not what it should be',
  });
}
