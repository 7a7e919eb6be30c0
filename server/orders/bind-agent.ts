import type { Digest, Id } from '../../core/ids.ts';
import type { AgentBinding } from '../db/agent-keys.ts';

/**
 * Which key may speak for a machine (docs/decisions/0004-which-key-speaks-for-a-machine.md).
 *
 * An agent makes its key when it starts and says hello with the public boot id of its boot script. The first
 * key of a target is bound. It stays bound until another key brings a *newer boot script* (one given out after
 * the binding) and the bound key has been *silent* long enough: that is what a machine that lost power
 * in the middle of a deployment looks like, and what an impostor beside a working machine does not.
 */
export type BindingFacts = {
  readonly keyId: Digest;
  readonly boot: { readonly id: Id; readonly createdAt: number };
  readonly binding: AgentBinding | undefined;
  readonly hasActiveOrder: boolean;
  readonly policy: 'auto' | 'operator';
  readonly now: number;
};

export type BindingDecision =
  | { readonly kind: 'same' }
  | { readonly kind: 'bind' }
  /** The operator must approve the key first. */
  | { readonly kind: 'wait' }
  | { readonly kind: 'refuse'; readonly reason: string };

/** A bound agent is heard of every second while it works and every 25 s while it waits. */
const SILENCE_WITH_ORDER_MS = 60_000;
const SILENCE_IDLE_MS = 30_000;
/** A boot id older than this introduces no new key. */
const BOOT_ID_LIFE_MS = 24 * 3_600_000;

export function decideBinding(facts: BindingFacts): BindingDecision {
  const { binding, boot, keyId, now } = facts;
  if (binding?.keyId === keyId) return { kind: binding.state === 'bound' ? 'same' : 'wait' };
  if (now - boot.createdAt > BOOT_ID_LIFE_MS) return refuse('its boot script is older than a day');
  const fresh: BindingDecision = { kind: facts.policy === 'auto' ? 'bind' : 'wait' };
  if (binding === undefined || binding.state === 'waiting') return fresh;
  if (boot.id === binding.bootId || boot.createdAt <= binding.boundAt) return refuse('another key said hello first for this boot');
  const silenceMs = facts.hasActiveOrder ? SILENCE_WITH_ORDER_MS : SILENCE_IDLE_MS;
  if (now - binding.seenAt < silenceMs) return refuse(`another key was heard of less than ${silenceMs / 1000} s ago`);
  return fresh;
}

function refuse(reason: string): BindingDecision {
  return { kind: 'refuse', reason };
}
