/** The command that gives a link its times; the hour is an example. */
const COMMAND = 'waystation sync schedule set "0 2 * * *"';

/** Says that nothing starts by itself; null when a schedule, or what the parent publishes, starts runs. `server`: where the command is for. */
export function unscheduledWords(
  link: { readonly schedule: string | null; readonly afterParent: boolean },
  server?: string,
): string | null {
  const parts = unscheduled(link, server);
  return parts && `${parts.words}; ${parts.hint}`;
}

/** As `unscheduledWords`, and apart from it what to do. */
export function unscheduled(
  link: { readonly schedule: string | null; readonly afterParent: boolean },
  server?: string,
): { readonly words: string; readonly hint: string } | null {
  if (link.schedule !== null || link.afterParent) return null;
  return {
    words: 'no schedule is set, so it replicates on command only',
    hint: `set one${server === undefined ? '' : ` at ${server}`} with: ${COMMAND}`,
  };
}
