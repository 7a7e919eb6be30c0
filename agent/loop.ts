import { AGENT_PROTOCOL, type Instruction } from '../core/agent-protocol.ts';
import { AppError, describeError } from '../core/errors.ts';
import type { Id } from '../core/ids.ts';
import type { ServerClient } from './client.ts';
import type { Machine } from './machine.ts';
import type { Patience } from './patience.ts';
import { runTask } from './run-task.ts';

/*
 * The agent's life: say hello, ask what to do, do it, report, ask again, until the machine is rebooted.
 *
 * This file decides what an error means. No answer, or a server that says "later": try again, for ever,
 * with growing waits; an engine has nothing better to do and its server may be restarting. Not known (any more):
 * say hello again. Anything else that happens in a task is that task's failure, told with words.
 */
export type World = {
  readonly client: ServerClient;
  readonly machine: Machine;
  readonly patience: Patience;
  readonly bootId: Id;
  readonly agentVersion: string;
  /** One line for whoever stands before the machine. */
  readonly say: (line: string) => void;
  readonly signal: AbortSignal;
};

/** Runs until the machine is rebooted or `signal` aborts. Rejects with errors that no repetition mends (an agent of another release). */
export async function runAgent(world: World): Promise<void> {
  while (!world.signal.aborted) {
    await introduce(world);
    if ((await workUntilForgotten(world)) === 'rebooting') return;
  }
}

async function introduce(world: World): Promise<void> {
  const { client, machine, bootId, agentVersion } = world;
  const welcome = await persist(world, 'hello', isHelloRetried, async () => {
    const inventory = await machine.inventory();
    return client.hello({ protocol: AGENT_PROTOCOL, bootId, agentVersion, inventory });
  });
  await machine.setClock(welcome.nowMs).catch((error: unknown) => world.say(`the clock stays as it is: ${describeError(error).message}`));
  world.say(`the server knows this machine as ${welcome.targetName ?? welcome.targetId}`);
}

async function workUntilForgotten(world: World): Promise<'rebooting' | 'forgotten'> {
  while (!world.signal.aborted) {
    try {
      const instruction = await persist(world, 'next', isRetried, () => world.client.next(world.signal));
      if (await follow(world, instruction)) return 'rebooting';
    } catch (error) {
      if (!isForgotten(error)) throw error;
      world.say(`the server does not know this agent any more: ${describeError(error).message}`);
      await world.patience.pause(3, world.signal);
      return 'forgotten';
    }
  }
  return 'forgotten';
}

/** Returns true when the machine goes down. */
async function follow(world: World, instruction: Instruction): Promise<boolean> {
  switch (instruction.action) {
    case 'wait':
      // The server holds the question for 25 s; this only keeps one that does not from being asked in a tight loop.
      await world.patience.pause(1, world.signal);
      return false;
    case 'stop':
      await persist(world, 'report', isRetried, () => world.client.report({ orderId: instruction.orderId, event: 'released' }));
      return false;
    case 'reboot':
      world.say(`rebooting: ${instruction.reason}`);
      await world.machine.reboot();
      return true;
    case 'task':
      await runTask(world, instruction.task, (what, call) => persist(world, what, isRetried, call));
      return false;
  }
}

/** Calls again as long as the failure is one that passes. */
async function persist<T>(world: World, what: string, isPassing: (error: unknown) => boolean, call: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await call();
    } catch (error) {
      if (world.signal.aborted) throw new AppError('cancelled', 'the agent was stopped', { cause: error });
      if (!isPassing(error)) throw error;
      if (attempt === 1 || attempt % 10 === 0) world.say(`${what}: ${describeError(error).message}; trying again`);
      await world.patience.pause(attempt, world.signal);
    }
  }
}

const PASSING: ReadonlySet<string> = new Set(['unreachable', 'not_running', 'busy', 'waiting', 'failed', 'disk_full']);
const FORGOTTEN: ReadonlySet<string> = new Set(['denied', 'not_permitted']);

function isRetried(error: unknown): boolean {
  return PASSING.has(describeError(error).code);
}

/**
 * A refused hello is repeated too: another key may be silent soon, an operator may approve this one, or what answered
 * with another CA was not our server. A machine that stays refused is shown at the server.
 */
function isHelloRetried(error: unknown): boolean {
  return isRetried(error) || isForgotten(error) || describeError(error).code === 'expired';
}

function isForgotten(error: unknown): boolean {
  return FORGOTTEN.has(describeError(error).code);
}
