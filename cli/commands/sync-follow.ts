import { Argument, type Command } from 'commander';
import type { Json } from '../../core/canonical-json.ts';
import type { Frame } from '../frame.ts';

/** `waystation sync schedule after-parent`: runs that start when the parent has published, beside or instead of the clock. */
export function registerFollow(schedule: Command, frame: Frame): void {
  schedule
    .command('after-parent')
    .description('start a run whenever the parent has published, within the windows of the schedule')
    .addArgument(new Argument('<state>').choices(['on', 'off']))
    .action((state: string) => setAfterParent(frame, state === 'on'));
}

async function setAfterParent(frame: Frame, afterParent: boolean): Promise<void> {
  const link = await (await frame.connect()).put<{ readonly [key: string]: Json }>('/api/v1/links/after-parent', { afterParent });
  frame.print(link, afterParent ? 'runs start when the parent has published' : 'runs start by the schedule and on command');
}
