import { nextOrderState, type OrderEvent, type OrderState } from '../../../core/order.ts';

/** What a branch says it has. */
export type BranchView = {
  readonly targets: readonly { readonly id: string; readonly group: string | null }[];
  readonly orders: readonly { readonly id: string; readonly targetId: string; readonly state: string }[];
  readonly documents: readonly { readonly name: string; readonly revision: number; readonly value: string }[];
  readonly images: readonly { readonly reference: string; readonly manifest: string; readonly state: string }[];
  readonly generation: number;
};

/** In words, one for each thing. */
export type Findings = { readonly lost: string[]; readonly doubled: string[] };

const EVENTS: readonly OrderEvent[] = ['activate', 'arrive', 'claim', 'progress', 'verified', 'call-home', 'fail', 'stop', 'released'];

/**
 * What a branch acknowledged, kept outside of it: whatever happens to its power, it must have all of that afterwards. What
 * was asked for and never answered may have been done or not, but not twice.
 */
export class Ledger {
  readonly #targets = new Map<string, string | null>();
  readonly #orders = new Map<string, OrderState>();
  readonly #documents = new Map<string, { revision: number; value: string }>();
  readonly #images = new Map<string, string>();
  #generation = 0;
  #acknowledged = 0;

  /** How many answers were written down. */
  get acknowledged(): number {
    return this.#acknowledged;
  }

  target({ id, group }: { readonly id: string; readonly group: string | null }): void {
    this.#acknowledged += 1;
    this.#targets.set(id, group);
  }

  order({ id, state }: { readonly id: string; readonly state: string }): void {
    this.#acknowledged += 1;
    this.#orders.set(id, state as OrderState);
  }

  document({ name, revision, value }: { readonly name: string; readonly revision: number; readonly value: string }): void {
    this.#acknowledged += 1;
    this.#documents.set(name, { revision, value });
  }

  image({ reference, manifest }: { readonly reference: string; readonly manifest: string }): void {
    this.#acknowledged += 1;
    this.#images.set(reference, manifest);
  }

  /** A run that was said to be done. */
  run({ generation }: { readonly generation: number }): void {
    this.#acknowledged += 1;
    this.#generation = Math.max(this.#generation, generation);
  }

  compare(view: BranchView): Findings {
    const lost = [
      ...this.#lostTargets(view),
      ...this.#lostOrders(view),
      ...this.#lostDocuments(view),
      ...this.#lostImages(view),
      ...(view.generation < this.#generation ? [`generation ${this.#generation} was published, it is ${view.generation}`] : []),
    ];
    return { lost, doubled: doubles(view) };
  }

  #lostTargets({ targets }: BranchView): string[] {
    const groups = new Map(targets.map(({ id, group }) => [id, group]));
    return [...this.#targets].flatMap(([id, group]) => {
      if (!groups.has(id)) return [`target ${id}`];
      return group !== null && groups.get(id) === null ? [`group ${group} of target ${id}`] : [];
    });
  }

  #lostOrders({ orders }: BranchView): string[] {
    const states = new Map(orders.map(({ id, state }) => [id, state as OrderState]));
    return [...this.#orders].flatMap(([id, before]) => {
      const now = states.get(id);
      if (now === undefined) return [`order ${id}`];
      return leadsTo(before).has(now) ? [] : [`order ${id} was ${before}, it is ${now}`];
    });
  }

  #lostDocuments({ documents }: BranchView): string[] {
    const held = new Map(documents.map((document) => [document.name, document]));
    return [...this.#documents].flatMap(([name, { revision, value }]) => {
      const now = held.get(name);
      if (now === undefined || now.revision < revision) return [`document ${name} in revision ${revision}`];
      return now.revision === revision && now.value !== value ? [`document ${name}: "${value}" became "${now.value}"`] : [];
    });
  }

  #lostImages({ images }: BranchView): string[] {
    const held = new Map(images.map((image) => [image.reference, image]));
    return [...this.#images].flatMap(([reference, manifest]) => {
      const now = held.get(reference);
      return now?.manifest === manifest && now.state === 'published' ? [] : [`image ${reference} ${manifest}: it is ${now?.state}`];
    });
  }
}

/** Every target here gets one order. */
function doubles({ targets, orders, images }: BranchView): string[] {
  return [
    ...repeated(targets.map(({ id }) => id)).map((id) => `target ${id}`),
    ...repeated(orders.map(({ targetId }) => targetId)).map((id) => `the order of target ${id}`),
    ...repeated(images.map(({ reference }) => reference)).map((reference) => `image ${reference}`),
  ];
}

function repeated(words: readonly string[]): string[] {
  return words.filter((word, index) => words.indexOf(word) !== index);
}

/** A state and all that can come after it. */
function leadsTo(state: OrderState): Set<OrderState> {
  const reached = new Set([state]);
  for (const from of reached) {
    for (const event of EVENTS) {
      const next = nextOrderState(from, event);
      if (next !== undefined) reached.add(next);
    }
  }
  return reached;
}
