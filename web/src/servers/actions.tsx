import { useState } from 'react';
import type { ServerTree, TreeServer } from '../../../core/server-tree.ts';
import { ask, asRefusal } from '../api/ask.ts';
import { Alert, type AlertKind } from '../kit/alert.tsx';
import { Button } from '../kit/button.tsx';
import { AssignParent } from './assign-parent.tsx';
import { JoinParent } from './join-parent.tsx';
import { LoadArchive } from './load-archive.tsx';
import { MakeArchive } from './make-archive.tsx';

type Outcome = { readonly kind: AlertKind; readonly title: string; readonly hint?: string | undefined };

type Props = {
  readonly server: TreeServer;
  readonly tree: ServerTree;
  readonly refresh: () => void;
  readonly onSignedOut: (words?: string) => void;
};

/** What can be done for a server, as the server that answers offers it to whoever is signed in. */
export function Actions({ server, tree, refresh, onSignedOut }: Props) {
  const [busy, setBusy] = useState<string>();
  const [outcome, setOutcome] = useState<Outcome>();
  const [asked, setAsked] = useState<'join' | 'parent' | 'archive' | 'load'>();
  const { can, name } = server;

  /** Does one thing at a time and says how it ended, in the words of the server. */
  const run = async (action: string, done: string, work: () => Promise<unknown>) => {
    setBusy(action);
    setOutcome(undefined);
    try {
      await work();
      setOutcome({ kind: 'success', title: done });
    } catch (error) {
      const refusal = asRefusal(error);
      if (refusal.status === 401) return onSignedOut(`You are signed out: ${refusal.message}.`);
      setOutcome({ kind: 'danger', title: refusal.message, hint: refusal.hint });
    } finally {
      setBusy(undefined);
      refresh();
    }
  };
  const close = (done?: string) => {
    setAsked(undefined);
    setOutcome(done === undefined ? undefined : { kind: 'success', title: done });
    refresh();
  };
  if (can.length === 0) return null;
  const at = `/api/v1/servers/${encodeURIComponent(server.id)}`;
  const link = server.relation === 'self' ? '/api/v1/links' : at;
  return (
    <div className="ws-actions">
      <div className="ws-actions__row">
        {can.includes('replicate') && (
          <Button
            kind="primary"
            isBusy={busy === 'replicate'}
            onClick={() => run('replicate', `${name} has begun a run.`, () => ask(`${at}/runs`, { method: 'POST', json: {} }))}
          >
            Replicate now
          </Button>
        )}
        {can.includes('pause') && (
          <Button
            kind="secondary"
            isBusy={busy === 'pause'}
            onClick={() => run('pause', `${name} is paused.`, () => ask(`${link}/pause`, { method: 'POST', json: {} }))}
          >
            Pause
          </Button>
        )}
        {can.includes('resume') && (
          <Button
            kind="secondary"
            isBusy={busy === 'resume'}
            onClick={() => run('resume', `${name} may go on.`, () => ask(`${link}/resume`, { method: 'POST', json: {} }))}
          >
            Resume
          </Button>
        )}
        {can.includes('join') && (
          <Button kind="secondary" onClick={() => setAsked('join')}>
            Join a parent
          </Button>
        )}
        {can.includes('parent') && (
          <Button kind="secondary" onClick={() => setAsked('parent')}>
            Assign a parent
          </Button>
        )}
        {can.includes('archive') && (
          <Button kind="secondary" onClick={() => setAsked('archive')}>
            Make an archive
          </Button>
        )}
        {can.includes('load') && (
          <Button kind="secondary" onClick={() => setAsked('load')}>
            Load an archive
          </Button>
        )}
      </div>
      <div role="status">
        {outcome !== undefined && (
          <Alert kind={outcome.kind} title={outcome.title}>
            {outcome.hint}
          </Alert>
        )}
      </div>
      {asked === 'join' && (
        <JoinParent name={name} onDone={(parent) => close(`${name} is a child of ${parent} now.`)} onClose={() => close()} />
      )}
      {asked === 'parent' && <AssignParent {...{ server, tree }} onDone={close} onClose={() => close()} />}
      {asked === 'archive' && <MakeArchive server={server} onClose={() => close()} />}
      {asked === 'load' && <LoadArchive server={server} onClose={() => close()} />}
    </div>
  );
}
