/**
 * The life of a replication run, one execution of a link. Each state says what is being done; what was done before
 * it is durable, so that a run which was killed is entered again at its state.
 *
 *   waiting-parent  the parent has not answered yet
 *   toc             its catalogue is fetched and verified
 *   diff            what we lack is worked out; is there room for it?
 *   archive         the parent builds, or finds, the archive for have -> want; its plan is kept
 *   transfer        rsync brings the parts, one after the other; each is unpacked as it lands
 *   verify          every wanted manifest is complete here, every chunk was hashed
 *   publish         one transaction makes the new generation visible
 *   done            published (or: there was nothing new)
 *   partial         ended with part of the work kept, or stopped by its window or a pause; the next run goes on from it
 *   failed          ended with words in `error`
 *
 * A repair begins at `archive` with single chunks of manifests that are published here already, and is done when `verify`
 * has found them (`healed`): there is nothing to publish.
 *
 * Nothing else assigns a state. `evicted` leads back: the parent no longer has the archive that the plan names. `turned`
 * too: content comes from another server from now on; `turned-in-vain`: nobody is left to ask for what the parent lacks.
 * `parent-away`: nothing new is learnt, what was wanted before is completed from another server; such a run ends `partial`.
 */
export const RUN_STATES = [
  'waiting-parent',
  'toc',
  'diff',
  'archive',
  'transfer',
  'verify',
  'publish',
  'done',
  'partial',
  'failed',
] as const;
export type RunState = (typeof RUN_STATES)[number];

export type RunEvent =
  | 'reached'
  | 'listed'
  | 'nothing-new'
  | 'lacking'
  | 'complete'
  | 'planned'
  | 'landed'
  | 'verified'
  | 'published'
  | 'healed'
  | 'evicted'
  | 'turned'
  | 'turned-in-vain'
  | 'parent-away'
  | 'give-up'
  | 'stop'
  | 'fail';

const MOVES: { readonly [State in RunState]: { readonly [Event in RunEvent]?: RunState } } = {
  'waiting-parent': { reached: 'toc', 'parent-away': 'diff', stop: 'partial', fail: 'failed' },
  toc: { listed: 'diff', 'nothing-new': 'done', stop: 'partial', fail: 'failed' },
  diff: { lacking: 'archive', complete: 'publish', stop: 'partial', fail: 'failed' },
  archive: { planned: 'transfer', turned: 'archive', 'turned-in-vain': 'verify', stop: 'partial', fail: 'failed' },
  transfer: {
    landed: 'verify',
    evicted: 'archive',
    turned: 'archive',
    'turned-in-vain': 'verify',
    'give-up': 'partial',
    stop: 'partial',
    fail: 'failed',
  },
  verify: { verified: 'publish', healed: 'done', lacking: 'archive', 'give-up': 'partial', stop: 'partial', fail: 'failed' },
  publish: { published: 'done', 'give-up': 'partial', fail: 'failed' },
  done: {},
  partial: {},
  failed: {},
};

/** Where an event leads from a state, or undefined when it is not allowed there. */
export function nextRunState(state: RunState, event: RunEvent): RunState | undefined {
  return MOVES[state][event];
}

export function isRunEnded(state: RunState): boolean {
  return state === 'done' || state === 'partial' || state === 'failed';
}
