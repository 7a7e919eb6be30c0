import { type ReactNode, useState } from 'react';
import { asRefusal } from './api/ask.ts';
import { type Session, signOut } from './api/session.ts';
import { Alert } from './kit/alert.tsx';
import { Button } from './kit/button.tsx';

type Props = { readonly session: Session; readonly onSignedOut: (words?: string) => void; readonly children: ReactNode };

/** What stands around every page: whose console it is, who looks at it, and the way out. */
export function Shell({ session, onSignedOut, children }: Props) {
  const [failure, setFailure] = useState<string>();
  const leave = async () => {
    try {
      await signOut();
      onSignedOut('You are signed out.');
    } catch (error) {
      const refusal = asRefusal(error);
      if (refusal.status === 401) onSignedOut('You are signed out.');
      else setFailure(`You are still signed in: ${refusal.message}`);
    }
  };
  return (
    <div className="pf-v6-c-page ws-page">
      <header className="pf-v6-c-masthead ws-masthead">
        <div className="ws-masthead__brand">
          <img src="/console/favicon.svg" alt="" width="28" height="28" />
          <span>Waystation</span>
          <span className="ws-masthead__server">{session.server}</span>
        </div>
        <div className="ws-masthead__who">
          <span className="ws-masthead__name">
            {session.name} <span className="ws-quiet">({session.role})</span>
          </span>
          <Button kind="secondary" onClick={leave}>
            Sign out
          </Button>
        </div>
      </header>
      <main className="ws-main">
        <h1 className="pf-v6-screen-reader" id="servers-title">
          Servers
        </h1>
        {failure !== undefined && <Alert kind="danger" title={failure} />}
        {children}
      </main>
    </div>
  );
}
