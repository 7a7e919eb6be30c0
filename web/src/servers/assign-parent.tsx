import { useState } from 'react';
import type { ServerTree, TreeServer } from '../../../core/server-tree.ts';
import { ask, asRefusal, type Refusal } from '../api/ask.ts';
import { Alert } from '../kit/alert.tsx';
import { Dialog } from '../kit/dialog.tsx';

type Props = {
  readonly server: TreeServer;
  readonly tree: ServerTree;
  readonly onDone: (words: string) => void;
  readonly onClose: () => void;
};

/** Where servers meet in one database, one of them says under whom another stands; the two then come together by themselves. */
export function AssignParent({ server, tree, onDone, onClose }: Props) {
  // As they were when the dialog opened: what somebody chooses from does not change under the hand, and what became wrong is refused in words.
  const [candidates] = useState(() => tree.items.filter((one) => isCandidate(one, server, tree)));
  const [parentId, setParentId] = useState(server.parentId ?? '');
  const [isBusy, setBusy] = useState(false);
  const [refusal, setRefusal] = useState<Refusal>();
  const submit = async () => {
    setBusy(true);
    setRefusal(undefined);
    const parent = candidates.find(({ id }) => id === parentId);
    try {
      await ask(`/api/v1/servers/${encodeURIComponent(server.id)}/parent`, { method: 'PUT', json: { parent: parent?.id ?? null } });
      onDone(parent === undefined ? `${server.name} is to have no parent.` : `${server.name} is to be a child of ${parent.name}.`);
    } catch (error) {
      setRefusal(asRefusal(error));
      setBusy(false);
    }
  };
  return (
    <Dialog title={`Parent of ${server.name}`} submit={{ words: 'Assign', isBusy, onSubmit: submit }} onClose={onClose}>
      <div className="ws-field">
        <label htmlFor="parent">Parent</label>
        <span className="pf-v6-c-form-control">
          <select id="parent" value={parentId} onChange={(event) => setParentId(event.target.value)}>
            <option value="">none</option>
            {candidates.map(({ id, name }) => (
              <option key={id} value={id}>
                {name}
              </option>
            ))}
          </select>
        </span>
        <p className="ws-hint">Servers that stand below {server.name} cannot be its parent.</p>
      </div>
      <div aria-live="polite" className="ws-notes">
        {refusal !== undefined && (
          <Alert kind="danger" title={refusal.message}>
            {refusal.hint}
          </Alert>
        )}
      </div>
    </Dialog>
  );
}

function isCandidate(one: TreeServer, server: TreeServer, tree: ServerTree): boolean {
  return one.id !== server.id && one.state === 'active' && !one.contentOnly && !isBelow(one, server, tree);
}

function isBelow(one: TreeServer, other: TreeServer, tree: ServerTree): boolean {
  const seen = new Set<string>();
  for (let at: TreeServer | undefined = one; at !== undefined && !seen.has(at.id); ) {
    if (at.parentId === other.id) return true;
    seen.add(at.id);
    const { parentId }: TreeServer = at;
    at = tree.items.find(({ id }) => id === parentId);
  }
  return false;
}
