import { useState } from 'react';
import { ask, asRefusal, type Refusal } from '../api/ask.ts';
import { Alert } from '../kit/alert.tsx';
import { Dialog } from '../kit/dialog.tsx';
import { Field } from '../kit/field.tsx';

type Props = { readonly name: string; readonly onDone: (parent: string) => void; readonly onClose: () => void };

/** This server becomes the child of another one, which says so with a token. */
export function JoinParent({ name, onDone, onClose }: Props) {
  const [url, setUrl] = useState('https://');
  const [token, setToken] = useState('');
  const [isBusy, setBusy] = useState(false);
  const [refusal, setRefusal] = useState<Refusal>();
  const submit = async () => {
    setBusy(true);
    setRefusal(undefined);
    try {
      const parent = await ask<{ name: string }>('/api/v1/servers/join', {
        method: 'POST',
        json: { url: url.trim(), token: token.trim() },
      });
      onDone(parent.name);
    } catch (error) {
      setRefusal(asRefusal(error));
      setBusy(false);
    }
  };
  return (
    <Dialog title={`Parent of ${name}`} submit={{ words: 'Join', isBusy, onSubmit: submit }} onClose={onClose}>
      <p>The parent gives out what this server takes: images, menus, orders. Its certificate authority is pinned by the token.</p>
      <Field label="Address of the parent" type="url" value={url} onChange={setUrl} />
      <Field
        label="Enrolment token"
        type="password"
        value={token}
        onChange={setToken}
        hint="“waystation server token” at the parent prints one; it is good once."
      />
      <div aria-live="polite">
        {refusal !== undefined && (
          <Alert kind="danger" title={refusal.message}>
            {refusal.hint}
          </Alert>
        )}
      </div>
    </Dialog>
  );
}
