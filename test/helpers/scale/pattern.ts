export type Row = Readonly<Record<string, unknown>>;

/** What a row is made of again: for each column a value, or text with places in it that others fill. */
type Column = { readonly name: string; readonly make: (values: Readonly<Record<string, string>>, laterMs: number) => unknown };

/** A row that a server wrote, to be written again and again with other ids. `columns` are in the order of what `make` gives. */
export type Pattern = {
  readonly columns: readonly string[];
  make(values: Readonly<Record<string, string>>, laterMs?: number): unknown[];
};

/**
 * Makes a pattern of a row: each text of `places` that occurs in it is a place, filled with the value of that name; a column with a time
 * moves by `laterMs`. `fixed` columns have a value by another way: the place is the whole column.
 */
export function patternOf(row: Row, places: Readonly<Record<string, string>>, fixed: readonly string[] = []): Pattern {
  const columns = Object.entries(row).map(([name, value]): Column => {
    if (fixed.includes(name)) return { name, make: (values) => values[name] };
    if (typeof value === 'string') return { name, make: textOf(value, places) };
    if (typeof value === 'number' && value > 1e12) return { name, make: (_values, laterMs) => value + laterMs };
    return { name, make: () => value };
  });
  return {
    columns: columns.map(({ name }) => name),
    make: (values, laterMs = 0) => columns.map(({ make }) => make(values, laterMs)),
  };
}

/** Text with the values in the places of what is there now. */
export function textOf(text: string, places: Readonly<Record<string, string>>): (values: Readonly<Record<string, string>>) => string {
  const names = new Map(Object.entries(places).map(([name, there]) => [there, name]));
  if (names.size === 0) return () => text;
  const parts = text.split(new RegExp(`(${[...names.keys()].map((there) => there.replaceAll('.', '\\.')).join('|')})`));
  return (values) => parts.map((part, n) => (n % 2 === 0 ? part : values[names.get(part) as string])).join('');
}
