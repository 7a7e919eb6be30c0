import { useMemo, useRef, useState } from 'react';
import type { ServerTree } from '../../../core/server-tree.ts';
import { countOf } from '../format.ts';
import { Button } from '../kit/button.tsx';
import { ServerRow } from './server-row.tsx';
import { type Filter, listRows, type Row } from './tree.ts';

type Props = {
  readonly tree: ServerTree;
  readonly filter: Filter;
  readonly text: string;
  readonly selectedId: string | undefined;
  readonly select: (id: string | undefined) => void;
};

/** More rows than these are drawn when asked for: the unwell come first. */
const AT_FIRST = 150;

/** The tree as a table. While somebody points at it, or has the focus in it, nothing changes its place. */
export function ServerTable({ tree, filter, text, selectedId, select }: Props) {
  const [shut, setShut] = useState<ReadonlySet<string>>(new Set());
  const [isWhole, setWhole] = useState(false);
  const fresh = useMemo(() => listRows(tree.items, { filter, text, shut }), [tree.items, filter, text, shut]);
  const body = useRef<HTMLTableSectionElement>(null);
  const shown = useStableOrder(fresh, `${filter} ${text} ${[...shut].join()}`, () => isInUse(body.current));
  const rows = isWhole ? shown : shown.slice(0, AT_FIRST);
  const toggle = (id: string) =>
    setShut((before) => {
      const after = new Set(before);
      if (!after.delete(id)) after.add(id);
      return after;
    });
  return (
    <div className="ws-table">
      <table className="pf-v6-c-table pf-m-compact pf-m-grid-md" aria-labelledby="servers-title">
        <thead className="pf-v6-c-table__thead">
          <tr className="pf-v6-c-table__tr">
            {['Server', 'State', 'Connection', 'Last run', 'Images'].map((title) => (
              <th className="pf-v6-c-table__th" scope="col" key={title}>
                {title}
              </th>
            ))}
          </tr>
        </thead>
        <tbody className="pf-v6-c-table__tbody" ref={body}>
          {rows.map((row) => (
            <ServerRow
              key={row.server.id}
              {...row}
              now={tree.at}
              isSelected={row.server.id === selectedId}
              select={select}
              toggle={toggle}
            />
          ))}
        </tbody>
      </table>
      {rows.length === 0 && (
        <p className="ws-empty">
          No server is like that. {text !== '' || filter !== 'all' ? 'Choose “All” and clear the name to see every one.' : ''}
        </p>
      )}
      {rows.length < shown.length && (
        <p className="ws-empty">
          <Button kind="link" onClick={() => setWhole(true)}>
            {`Show ${countOf(shown.length - rows.length, 'more server')}`}
          </Button>
        </p>
      )}
    </div>
  );
}

function isInUse(body: HTMLElement | null): boolean {
  return body !== null && (body.matches(':hover') || body.contains(document.activeElement));
}

/** The rows as they are now, in the order in which they were when the table was last left alone or `wish` changed. */
function useStableOrder(fresh: readonly Row[], wish: string, isFrozen: () => boolean): readonly Row[] {
  const last = useRef<{ wish: string; ids: readonly string[] }>({ wish: '', ids: [] });
  const byId = new Map(fresh.map((row) => [row.server.id, row]));
  const isSameSet = last.current.wish === wish && last.current.ids.length === fresh.length && last.current.ids.every((id) => byId.has(id));
  if (isSameSet && isFrozen()) return last.current.ids.flatMap((id) => byId.get(id) ?? []);
  last.current = { wish, ids: fresh.map(({ server }) => server.id) };
  return fresh;
}
