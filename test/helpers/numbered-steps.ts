import type { Knex } from 'knex';
import { newId } from '../../core/ids.ts';
import { takeNumbers } from '../../server/db/shared/counters.ts';
import type { Site } from '../../server/site.ts';

/** One time that the work of a step ran: the number it was given, on which connection, after how many kills, when (epoch ms). */
type Attempt = { readonly connection: number; readonly kills: number; readonly at: number; number?: number };
/** A step as the caller saw it. `told` is the number that was acknowledged; else `refused` says in which words not. */
type Step = { readonly id: string; readonly by: string; readonly attempts: Attempt[]; told?: number; isFound?: boolean; refused?: string };

/** The database as somebody who may read all of it, and what it wrote when it came back. */
type Asked = { ask(query: string): string | Promise<string>; errorLog(): string | Promise<string> };

const COUNTER = 'steps';
/** Of what is wrong, in words. */
const MOST_TOLD = 20;

/**
 * Steps in the shared database, each of which takes the next number of one counter and writes it down in the same
 * transaction; so one that was done twice, or by half, shows as a number that is there twice or not at all. What each
 * caller was told is kept here, outside the system.
 */
export class NumberedSteps {
  readonly #steps = new Map<string, Step>();
  readonly #mariadb: Asked;
  readonly #database: string;
  readonly #acknowledgedBy = new Map<string, number>();
  /** How often the database was killed; the caller counts. */
  kills = 0;
  acknowledged = 0;
  /** Acknowledged because it was there: the answer to COMMIT was lost. */
  found = 0;
  refused = 0;

  /** `database` is the name of the one where they meet. */
  constructor(mariadb: Asked, database: string) {
    this.#mariadb = mariadb;
    this.#database = database;
  }

  /** One step by a server: acknowledged, by the answer to COMMIT or by reading again, or refused. */
  async take({ shared, self }: Pick<Site, 'shared' | 'self'>): Promise<void> {
    const step: Step = { id: newId(), by: self.name, attempts: [] };
    this.#steps.set(step.id, step);
    const row = { name: `step ${step.id}` };
    const once = async (trx: Knex.Transaction) => {
      const { threadId } = await trx.client.acquireConnection();
      const attempt: Attempt = { connection: threadId, kills: this.kills, at: Date.now() };
      step.attempts.push(attempt);
      attempt.number = await takeNumbers(trx, COUNTER, 1);
      await trx('shared_leases').insert({ ...row, holder: null, fencing: attempt.number, expires_at: 0 });
      return attempt.number;
    };
    const find = async (db: Knex) => {
      const found = await db('shared_leases').where(row).first('fencing');
      if (found !== undefined) step.isFound = true;
      return found && Number(found.fencing);
    };
    try {
      step.told = await shared?.write('a test', once, find);
      this.acknowledged += 1;
      if (step.isFound) this.found += 1;
      this.#acknowledgedBy.set(self.id, this.acknowledgedBy({ self }) + 1);
    } catch (error) {
      step.refused = (error as Error).message;
      this.refused += 1;
    }
  }

  /** How many steps this server was told to be done. */
  acknowledgedBy({ self }: Pick<Site, 'self'>): number {
    return this.#acknowledgedBy.get(self.id) ?? 0;
  }

  /** Throws when counter, number of steps and highest number do not agree, as they do between any two transactions. */
  async look(): Promise<void> {
    const [row] = await this.#ask(
      `select (select value from shared_counters where name = '${COUNTER}'), count(*), max(fencing) from shared_leases where name like 'step %'`,
    );
    const [value, count, highest] = row as string[];
    if (value === count && value === highest) return;
    await this.compare();
    throw new Error(
      `after kill ${this.kills}: counter ${value}, ${count} steps, the highest ${highest}\n${await this.#mariadb.errorLog()}`,
    );
  }

  /**
   * Compares what is there with what was told: each number is there once, and is what its caller was told. Throws with
   * everything that is known of the numbers that are not and of their neighbours, whether the database finds its tables
   * whole, and what it wrote when it came back. What is told while it asks is not part of it.
   */
  async compare(): Promise<void> {
    const told = [...this.#steps.values()].flatMap(({ id, told: number }) => (number === undefined ? [] : [{ id, number }]));
    const rows = await this.#ask("select name, fencing from shared_leases where name like 'step %'");
    const there = rows.map(([name = '', number]) => ({
      id: name.slice('step '.length),
      number: Number(number),
    }));
    const byNumber = Map.groupBy(there, ({ number }) => number);
    const byId = new Map(there.map(({ id, number }) => [id, number]));
    const wrong: { number: number; words: string }[] = [];
    for (const [number, rows] of byNumber)
      if (rows.length > 1) wrong.push({ number, words: `number ${number} is there ${rows.length} times: ${rows.map(({ id }) => id)}` });
    for (let number = 1; number <= there.length; number++)
      if (!byNumber.has(number)) wrong.push({ number, words: `number ${number} is missing` });
    for (const { id, number } of told) {
      const found = byId.get(id);
      if (found !== number) wrong.push({ number, words: `step ${id} was told ${number} and is there as ${found}` });
    }
    for (const { id, number } of there) if (!this.#steps.has(id)) wrong.push({ number, words: `step ${id} is nobody's` });
    if (wrong.length === 0) return;
    const [counter] = await this.#ask(`select value from shared_counters where name = '${COUNTER}'`);
    const all = wrong.slice(0, MOST_TOLD).map(({ number, words }) => `${words}\n${this.#around(number, byId)}`);
    const words = `after kill ${this.kills}: counter ${counter?.[0]}, ${there.length} steps there, ${wrong.length} wrong`;
    const checked = (await this.#ask('check table shared_leases, shared_counters extended')).join('\n');
    throw new Error([words, ...all, checked, await this.#mariadb.errorLog()].join('\n'));
  }

  /** All steps that had to do with a number near this one. */
  #around(number: number, byId: ReadonlyMap<string, number>): string {
    const isNear = (other?: number) => other !== undefined && Math.abs(other - number) <= 3;
    return [...this.#steps.values()]
      .filter(({ id, told, attempts }) => isNear(told) || isNear(byId.get(id)) || attempts.some((attempt) => isNear(attempt.number)))
      .map((step) => `  there as ${byId.get(step.id) ?? 'nothing'}: ${JSON.stringify(step)}`)
      .join('\n');
  }

  async #ask(query: string): Promise<string[][]> {
    const text = await this.#mariadb.ask(`use ${this.#database}; ${query}`);
    return text
      .split('\n')
      .filter(Boolean)
      .map((line) => line.split('\t'));
  }
}
