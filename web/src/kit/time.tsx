import { formatDistance, formatTime } from '../format.ts';

/** A time as its distance from now, with the exact one for who points at it. */
export function Time({ at, now }: { readonly at: string; readonly now: string }) {
  return (
    <time dateTime={at} title={formatTime(at)}>
      {formatDistance(at, now)}
    </time>
  );
}
