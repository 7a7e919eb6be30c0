import { useEffect, useMemo, useState } from 'react';
import type { ServerTree } from '../../../core/server-tree.ts';
import { usePoll } from '../api/poll.ts';
import { Alert } from '../kit/alert.tsx';
import { Waiting } from '../kit/waiting.tsx';
import { Details } from './details.tsx';
import { ServerTable } from './server-table.tsx';
import { Toolbar } from './toolbar.tsx';
import { countFilters, type Filter } from './tree.ts';

type Props = { readonly onSignedOut: (words?: string) => void };

const EVERY_MS = 4000;

/** The server-synchronization panel: all servers as a tree, the unwell first, and one of them in detail. */
export function ServersPage({ onSignedOut }: Props) {
  const { answer: tree, failure, refresh } = usePoll<ServerTree>('/api/v1/tree', EVERY_MS, onSignedOut);
  const [filter, setFilter] = useState<Filter>('all');
  const [text, setText] = useState('');
  const { selectedId, isChosen, select } = useSelection();
  const counts = useMemo(() => countFilters(tree?.items ?? []), [tree]);

  if (tree === undefined) {
    if (failure === undefined) return <Waiting words="Asking for the servers" />;
    return (
      <Alert kind="danger" title={failure.message}>
        {failure.hint}
      </Alert>
    );
  }
  const selected = tree.items.find(({ id }) => id === selectedId);
  return (
    <div className={selected === undefined ? 'ws-servers' : 'ws-servers ws-servers--with-details'}>
      <section className="ws-servers__list" aria-labelledby="servers-title">
        <Toolbar {...{ counts, filter, text, setFilter, setText, failure, at: tree.at }} />
        <ServerTable {...{ tree, filter, text, selectedId: selected?.id, select }} />
      </section>
      {selected !== undefined && (
        <Details key={selected.id} {...{ server: selected, tree, select, takesFocus: isChosen, refresh, onSignedOut }} />
      )}
    </div>
  );
}

type Selection = { readonly selectedId: string | undefined; readonly isChosen: boolean; readonly select: (id: string | undefined) => void };

/** Which server is looked at stands in the address, so that it can be kept and sent; ids are no secrets. */
function useSelection(): Selection {
  const [{ id, isChosen }, choose] = useState<{ id: string | undefined; isChosen: boolean }>({ id: readSelection(), isChosen: false });
  useEffect(() => {
    const follow = () => choose({ id: readSelection(), isChosen: true });
    window.addEventListener('hashchange', follow);
    return () => window.removeEventListener('hashchange', follow);
  }, []);
  const select = (wanted: string | undefined) => {
    window.history.pushState(null, '', wanted === undefined ? window.location.pathname : `#${wanted}`);
    choose({ id: wanted, isChosen: true });
  };
  return { selectedId: id, isChosen, select };
}

function readSelection(): string | undefined {
  return /^#([0-9a-f-]{36})$/.exec(window.location.hash)?.[1];
}
