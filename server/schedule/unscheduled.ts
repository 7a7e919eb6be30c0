/** The command that gives a link its times; the hour is an example. */
const COMMAND = 'waystation sync schedule set "0 2 * * *"';

/** Says that nothing starts by itself; null when a schedule, or what the parent publishes, starts runs. `server`: where the command is for. */
export function unscheduledWords(
  link: { readonly schedule: string | null; readonly afterParent: boolean },
  server?: string,
): string | null {
  if (link.schedule !== null || link.afterParent) return null;
  return `no schedule is set, so it replicates on command only; set one${server === undefined ? '' : ` at ${server}`} with: ${COMMAND}`;
}
