export type Closable = { close(): Promise<void> };

export type OpenedAhead<Thing> = {
  /** The one at this place, from 0; the caller closes it. Rejects when it could not be opened. */
  take(place: number): Promise<Thing>;
  /** Closes what was opened and not taken. */
  close(): Promise<void>;
};

/** Things that are used one after the other and take long to open: the next one opens while one is in use. */
export function openAhead<Thing extends Closable>(all: readonly (() => Promise<Thing>)[]): OpenedAhead<Thing> {
  const opened = new Map<number, Promise<Thing>>();
  const open = (place: number) => {
    const thing = opened.get(place) ?? all[place]?.();
    // Who takes it hears of it.
    thing?.catch(() => undefined);
    if (thing) opened.set(place, thing);
    return thing;
  };
  return {
    take: async (place) => {
      const mine = open(place);
      if (mine === undefined) throw new Error(`there is nothing at place ${place}`);
      opened.delete(place);
      // Not before: two at once would take as long as one after the other.
      const openNext = () => void open(place + 1);
      mine.then(openNext, openNext);
      return mine;
    },
    close: async () => {
      for (const thing of opened.values()) await (await thing.catch(() => undefined))?.close();
    },
  };
}
