/**
 * The order's life. An order is one job applied to one target.
 *
 *   planned      exists, its time has not come
 *   activated    may start; the target has not been seen since
 *   pending      the target is told to enter the environment the task needs (or is there and waits)
 *   installing   the agent holds the task and reports progress
 *   current      the deployed system called home with the nonce: the only proof we accept
 *   failed       ended with words in `error`
 *   cancelling   the operator stopped it while an agent held it; ends when the agent lets go
 *   stopped      ended by the operator
 *
 * Nothing else assigns a state. Repeating a report is harmless: a move to the state that is
 * already there is `same`, not an error.
 */
const ORDER_STATES = ['planned', 'activated', 'pending', 'installing', 'current', 'failed', 'cancelling', 'stopped'] as const;
export type OrderState = (typeof ORDER_STATES)[number];

export type OrderEvent = 'activate' | 'arrive' | 'claim' | 'progress' | 'verified' | 'call-home' | 'fail' | 'stop' | 'released';

const MOVES: { readonly [State in OrderState]: { readonly [Event in OrderEvent]?: OrderState } } = {
  planned: { activate: 'activated', stop: 'stopped', fail: 'failed' },
  activated: { arrive: 'pending', claim: 'installing', stop: 'stopped', fail: 'failed' },
  pending: { arrive: 'pending', claim: 'installing', stop: 'stopped', fail: 'failed' },
  installing: {
    arrive: 'pending',
    claim: 'installing',
    progress: 'installing',
    verified: 'installing',
    'call-home': 'current',
    fail: 'failed',
    stop: 'cancelling',
  },
  cancelling: { released: 'stopped', fail: 'stopped', arrive: 'stopped', stop: 'cancelling' },
  current: { 'call-home': 'current' },
  failed: { fail: 'failed' },
  stopped: { stop: 'stopped', released: 'stopped' },
};

/** Where an event leads from a state, or undefined when it is not allowed there. */
export function nextOrderState(state: OrderState, event: OrderEvent): OrderState | undefined {
  return MOVES[state][event];
}

export function isOrderEnded(state: OrderState): boolean {
  return state === 'current' || state === 'failed' || state === 'stopped';
}
