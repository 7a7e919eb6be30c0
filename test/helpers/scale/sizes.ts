/** How much a server has to do with. `below`: what each of the other servers told of itself, besides its state. */
export type Size = {
  readonly targets: number;
  readonly orders: number;
  /** Further servers: its children, or those that meet it in a database. */
  readonly servers: number;
  readonly below: { readonly targets: number; readonly orders: number };
};

export const SMALL: Size = { targets: 100, orders: 1_000, servers: 5, below: { targets: 20, orders: 200 } };
export const LARGE: Size = { targets: 10_000, orders: 100_000, servers: 500, below: { targets: 20, orders: 200 } };
