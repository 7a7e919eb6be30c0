import type { HealthLevel } from '../../../core/server-health.ts';
import type { ServerRole } from '../../../core/server-role.ts';
import type { TreeServer } from '../../../core/server-tree.ts';
import { formatBytes, formatDuration } from '../format.ts';
import type { IconName } from '../kit/icon.tsx';
import { Label, type LabelColor } from '../kit/label.tsx';

const LEVELS: { readonly [Level in HealthLevel]: { readonly color: LabelColor; readonly icon: IconName; readonly word: string } } = {
  problem: { color: 'red', icon: 'problem', word: 'Problem' },
  warning: { color: 'orange', icon: 'warning', word: 'Warning' },
  unknown: { color: 'grey', icon: 'unknown', word: 'Unknown' },
  notice: { color: 'blue', icon: 'info', word: 'Notice' },
  ok: { color: 'green', icon: 'ok', word: 'Well' },
};

const ROLES: { readonly [Role in ServerRole]: string } = {
  master: 'master',
  slave: 'slave',
  both: 'master and slave',
  alone: 'stands alone',
};

export function HealthLabel({ level }: { readonly level: HealthLevel }) {
  const { color, icon, word } = LEVELS[level];
  return (
    <Label color={color} icon={icon}>
      {word}
    </Label>
  );
}

export function roleWords({ role, contentOnly }: Pick<TreeServer, 'role' | 'contentOnly'>): string {
  return contentOnly ? 'takes content only' : ROLES[role];
}

/** `hq`, `none`, `hq, to be relay`, `hq, as tree.yaml of server hq says` */
export function parentWords({ parent, wishedParent, parentFile }: TreeServer): string {
  const wish = wishedParent === null || wishedParent === parent ? '' : `, to be ${wishedParent}`;
  return `${parent ?? 'none'}${wish}${parentFile === null ? '' : `, as ${parentFile} says`}`;
}

/** Why no time is known for the next run. */
export function nextRunWords({ paused, schedule, afterParent }: TreeServer): string {
  if (paused) return 'none while it is paused';
  if (afterParent) return 'when its parent has published';
  return schedule === null ? 'on command only: no schedule is set' : 'its schedule never meets its window';
}

type Run = NonNullable<TreeServer['run']>;

const STAGES: { readonly [state: string]: string } = {
  'waiting-parent': 'waits for its parent',
  toc: 'reads the catalogue',
  diff: 'works out what is missing',
  archive: 'waits for the archive',
  transfer: 'transfers',
  verify: 'verifies',
  publish: 'publishes',
  done: 'complete',
  partial: 'incomplete',
  failed: 'failed',
};

export function runWords({ state }: Run): string {
  return STAGES[state] ?? state;
}

/** `45 %, 1.2 of 2.6 GB, 4 min to go` */
export function progressWords({ progress }: Run): string {
  if (progress === null) return '';
  const { percent, doneBytes, totalBytes, etaSeconds } = progress;
  const bytes = totalBytes > 0 ? `, ${formatBytes(doneBytes)} of ${formatBytes(totalBytes)}` : '';
  const eta = etaSeconds === null ? '' : `, ${formatDuration(etaSeconds * 1000)} to go`;
  return `${Math.floor(percent)} %${bytes}${eta}`;
}

export function imageWords({ images }: TreeServer): string {
  if (images === null) return '';
  return images.wanted === 0 ? 'none wanted' : `${images.held} of ${images.wanted}`;
}
