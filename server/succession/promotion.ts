import { AppError } from '../../core/errors.ts';

/** What is asked: `server` is to take the place of the server at the top above it, or of `insteadOf`. */
export type PromotionWish = {
  readonly server: string;
  readonly insteadOf?: string | undefined;
  /** Also when the one that is lost was heard just now. */
  readonly evenIfAlive: boolean;
  readonly isDryRun: boolean;
  readonly actor: string;
};

/** What came of it, or (dry run) would. */
export type Promoted = {
  readonly server: string;
  readonly insteadOf: string;
  /** `database`: every server hears of it there; `link`: this server alone knows, and others join it. */
  readonly by: 'database' | 'link';
  /** False: it was so before, or nothing was to be changed. */
  readonly changed: boolean;
  readonly dryRun: boolean;
  /** How long ago the one that is lost was heard; null: it is not known. */
  readonly heardSecondsAgo: number | null;
  readonly moved: readonly {
    readonly server: string;
    readonly from: string | null;
    readonly to: string | null;
    readonly managedBy: string | null;
  }[];
  /** How many of its objects this server has signed anew; null: the successor does that by itself. */
  readonly adopted: number | null;
};

/** Throws `wrong_state` for a server that is not lost, unless that is known. */
export function refuseAlive(
  name: string,
  { ageMs, limitMs, wish }: { readonly ageMs: number | null; readonly limitMs: number; readonly wish: PromotionWish },
): void {
  if (wish.evenIfAlive || wish.isDryRun || ageMs === null || ageMs > limitMs) return;
  throw new AppError('wrong_state', `server ${name} was heard ${Math.round(ageMs / 1000)} s ago: it is not lost`, {
    hint: 'stop it first; or, when it is to give its place up while it runs: --even-if-alive',
  });
}
